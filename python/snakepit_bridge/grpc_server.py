"""Serves a worker over gRPC. PROTOCOL.md 4."""

import os
import signal
import socket
import stat
import sys
from urllib.parse import quote

import grpc

from .descriptors import take_stdio
from .grpc_service import Service, TokenCheck

# RPCs beyond the worker's capacity that may wait; more are refused with RESOURCE_EXHAUSTED.
MAX_WAITING_RPCS = 1024
# After SIGTERM, calls in progress have so long to end.
DRAIN_LIMIT_S = 2.0

_MAX_SOCKET_PATH_BYTES = 107  # sizeof(sockaddr_un.sun_path) - 1


class _StartFailed(Exception):
    """The server cannot listen, or not say where; says why."""


def serve(worker, options):
    """Serves until SIGTERM; returns the exit status."""
    input_fd, announce_fd = take_stdio()
    os.close(input_fd)
    # A terminal's ^C is the pool's to judge. A handler, since children inherit SIG_IGN.
    signal.signal(signal.SIGINT, lambda *_: None)
    wait_for_terminate = _on_terminate()
    service = Service(worker, options.max_frame_bytes)
    server = _make_server(
        service, options.token, worker.capacity + MAX_WAITING_RPCS
    )
    try:
        address = _listen(server, options)
        server.start()
        _announce(announce_fd, address, is_port=options.socket is None)
    except _StartFailed as error:
        print(f"{worker.name}: {error}", file=sys.stderr)
        return 1
    wait_for_terminate()
    # Before the server stops, which would close the connection to new calls, and not say
    # of them that they did not run.
    service.end_calls(DRAIN_LIMIT_S)
    # The event that this returns is not waited for: that waits for connections too, and a
    # client that has no call in progress may not notice that it is to close its one.
    server.stop(None)
    _remove_socket(options.socket)
    return 0


def _on_terminate():
    """Prepares for SIGTERM; what it returns waits for it."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    signal.set_wakeup_fd(write_fd)
    signal.signal(signal.SIGTERM, lambda *_: None)

    def wait():
        while os.read(read_fd, 1) != bytes([signal.SIGTERM]):
            pass

    return wait


def _make_server(service, token, max_concurrent_rpcs):
    limit = service.max_message_bytes
    server = grpc.server(
        service.control_threads,
        interceptors=[TokenCheck(token)] if token else [],
        options=[
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", limit),
            # With it two servers could both listen on one port, each getting half the
            # calls.
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=max_concurrent_rpcs,
    )
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "snakepit.SnakepitBridge", service.methods()
            ),
        )
    )
    return server


def _listen(server, options):
    """Binds; returns the port, or the path of the socket."""
    if options.socket is not None:
        path = os.path.abspath(options.socket)
        _check_socket_path(path)
        address, shown = f"unix:{quote(path)}", path
    else:
        host = f"[{options.host}]" if ":" in options.host else options.host
        address = shown = f"{host}:{options.port or 0}"
    before = os.umask(0o077)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        port = 0
    finally:
        os.umask(before)
    if port == 0:
        raise _StartFailed(
            f"cannot listen on {shown}: it is taken, or not to be had by this process"
        )
    return port if options.socket is None else options.socket


def _check_socket_path(path):
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH_BYTES:
        raise _StartFailed(
            f"cannot listen on {path}: the path of a Unix socket has at most"
            f" {_MAX_SOCKET_PATH_BYTES} bytes"
        )
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise _StartFailed(f"cannot listen on {path}: a file is there")
    # gRPC would take the path from a server that is alive.
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return
    raise _StartFailed(f"cannot listen on {path}: another server does")


def _announce(fd, address, is_port):
    """Says where the server serves. PROTOCOL.md 4.2."""
    try:
        ready_file = os.environ.get("SNAKEPIT_READY_FILE")
        if ready_file and is_port:
            temporary = f"{ready_file}.{os.getpid()}"
            with open(temporary, "w", encoding="ascii") as file:
                file.write(str(address))
            os.rename(temporary, ready_file)
    except OSError as error:
        raise _StartFailed(f"cannot write SNAKEPIT_READY_FILE: {error}") from None
    try:
        os.write(fd, os.fsencode(f"GRPC_READY:{address}\n"))
    except OSError as error:
        # A pool that connects instead may have closed its end.
        print(f"cannot announce {address} on stdout: {error}", file=sys.stderr)
    os.close(fd)


def _remove_socket(path):
    if path is not None:
        try:
            os.unlink(path)
        except OSError:
            pass  # gRPC removed it
