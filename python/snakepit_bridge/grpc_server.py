"""Serves a worker over gRPC. PROTOCOL.md 4."""

import os
import signal
import socket
import stat
import sys
from urllib.parse import quote

import grpc

from . import forked
from .descriptors import open_closed_stdio, take_stdio
from .grpc_service import Service, TokenCheck
from .pool_watch import PoolWatch

# The most RPCs that wait beyond the worker's capacity; more are refused as RESOURCE_EXHAUSTED.
MAX_WAITING_RPCS = 1024
# Time for calls in flight to end after SIGTERM, in seconds.
DRAIN_LIMIT_S = 2.0

_MAX_SOCKET_PATH_BYTES = 107  # sizeof(sockaddr_un.sun_path) - 1


class _StartFailed(Exception):
    """The server cannot listen or announce its address. The message says why."""


def serve(worker, options):
    """Serves until SIGTERM or the end of the pool; returns the exit status."""
    open_closed_stdio()
    input_fd, output_fd = take_stdio()
    # A pool that names its workers gives them no stdin; if there is one, it is a wrapper's.
    is_named = bool(os.environ.get("SNAKEPIT_WORKER_ID"))
    watch = PoolWatch(input_fd, output_fd, has_input=not is_named)
    signals_fd, write_fd = os.pipe()
    _write_signals_to(write_fd)
    service = Service(worker, options.max_frame_bytes)
    server = _make_server(service, options.token, worker.capacity + MAX_WAITING_RPCS)
    try:
        address = _listen(server, options)
        forked.prepare(lambda: _release_in_child(address, watch, (signals_fd, write_fd)))
        server.start()
        _announce(output_fd, address, is_port=options.socket is None)
    except _StartFailed as error:
        print(f"{worker.name}: {error}", file=sys.stderr)
        return 1
    _wait_for_end(watch, signals_fd, worker.name)
    # Calls end before the server stops: a stopped server closes the connection to new calls without
    # telling the pool that they did not run.
    service.end_calls(DRAIN_LIMIT_S)
    # The event that stop() returns is not awaited: it also waits for connections, and a client
    # without a call in flight may not notice that it is to close its connection.
    server.stop(None)
    if options.socket is not None:
        _remove_socket(address)  # an absolute path, since handlers may change the working folder
    return 0


def _write_signals_to(write_fd):
    """Writes the number of each handled signal to a pipe."""
    os.set_blocking(write_fd, False)
    signal.set_wakeup_fd(write_fd)
    # A terminal's ^C is for the pool. These are handlers, since children would inherit SIG_IGN.
    forked.handle(signal.SIGINT, lambda *_: None)
    forked.handle(signal.SIGTERM, lambda *_: None)


def _wait_for_end(watch, signals_fd, name):
    """Returns at SIGTERM, or when the pool is gone."""
    while not watch.wait(signals_fd):
        if os.read(signals_fd, 1) == bytes([signal.SIGTERM]):
            return
    try:
        print(f"{name}: the pool is gone", file=sys.stderr, flush=True)
    except OSError:
        pass  # the reader of stderr is gone, too


def _release_in_child(address, watch, signal_fds):
    """Closes the signal pipe, the listener and the connections in a forked child."""
    signal.set_wakeup_fd(-1)
    watch.close()
    for fd in signal_fds:
        os.close(fd)
    for name in os.listdir("/proc/self/fd"):
        try:
            listener_or_connection = socket.socket(fileno=int(name))
        except OSError:
            continue  # the descriptor is no socket
        own = listener_or_connection.getsockname()
        if type(own) is tuple and listener_or_connection.type == socket.SOCK_STREAM:
            own = own[1]  # the port
        if own == address:
            listener_or_connection.close()
        else:
            listener_or_connection.detach()


def _make_server(service, token, max_concurrent_rpcs):
    limit = service.max_message_bytes
    server = grpc.server(
        service.control_threads,
        interceptors=[TokenCheck(token)] if token else [],
        options=[
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", limit),
            # Port reuse would let two servers listen on one port, and split the calls.
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=max_concurrent_rpcs,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("snakepit.SnakepitBridge", service.methods()),)
    )
    return server


def _listen(server, options):
    """Binds the server. Returns the port, or the path of the socket. Raises _StartFailed."""
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
            f"cannot listen on {shown}: the address is in use, or not available to this process"
        )
    return port if options.socket is None else path


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
        raise _StartFailed(f"cannot listen on {path}: the path exists and is no socket")
    # gRPC would replace the socket of a server that is alive.
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return
    raise _StartFailed(f"cannot listen on {path}: another server listens there")


def _announce(fd, address, is_port):
    """Announces the server's address. PROTOCOL.md 4.2."""
    try:
        ready_file = os.environ.get("SNAKEPIT_READY_FILE")
        if ready_file and is_port:
            temporary = f"{ready_file}.{os.getpid()}"
            with open(temporary, "w", encoding="ascii") as file:
                file.write(str(address))
            os.rename(temporary, ready_file)
    except OSError as error:
        raise _StartFailed(f"cannot write SNAKEPIT_READY_FILE: {error}") from None
    lines = f"GRPC_READY:{address}\n"
    if is_port:
        lines += f"GRPC_SERVER_READY_ON_PORT={address}\n"  # the only line that some pools know
    try:
        os.write(fd, os.fsencode(lines))  # one write, since some pools look at each read alone
    except OSError as error:
        # Not fatal: a pool that polls the address may have closed its end.
        print(f"cannot announce {address} on stdout: {error}", file=sys.stderr)


def _remove_socket(path):
    try:
        os.unlink(path)
    except OSError:
        pass  # gRPC has removed it
