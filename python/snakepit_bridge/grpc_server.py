"""Serves a worker over gRPC. PROTOCOL.md 4."""

import os
import signal
import socket
import stat
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import grpc

from . import snakepit_pb2 as pb
from .calls import (
    HANDLER_FAILED,
    INVALID_ARGUMENT,
    MESSAGE_TOO_LARGE,
    CallError,
    printable,
)
from .descriptors import take_stdio
from .registry import NO_CHUNK
from .values import EncodeError, from_map_bytes, to_map

# Unary calls that run at once, and streams likewise; more of them wait.
HANDLER_THREADS = 16
# Calls beyond this many, running and waiting, are refused with RESOURCE_EXHAUSTED.
MAX_CONCURRENT_RPCS = 1024
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
    progress = _Progress()
    server = _make_server(_Service(worker, progress, options.max_frame_bytes))
    try:
        address = _listen(server, options)
        server.start()
        _announce(announce_fd, address, is_port=options.socket is None)
    except _StartFailed as error:
        print(f"{worker.name}: {error}", file=sys.stderr)
        return 1
    wait_for_terminate()
    server.stop(DRAIN_LIMIT_S)
    # Not the event that stop() returns: that waits for connections too, and a client
    # that has no call in progress may not notice that it is to close its one.
    progress.wait_until_idle(DRAIN_LIMIT_S)
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


def _make_server(service):
    limit = service.max_message_bytes
    server = grpc.server(
        service.control_threads,
        options=[
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", limit),
            # With it two servers could both listen on one port, each getting half the
            # calls.
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=MAX_CONCURRENT_RPCS,
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


class _Progress:
    """How many calls have arrived and not yet ended, their replies sent."""

    def __init__(self):
        self._changed = threading.Condition()
        self._count = 0

    def begin(self):
        """One more reason not to stop."""
        with self._changed:
            self._count += 1

    def end(self, *_):
        """One less."""
        with self._changed:
            self._count -= 1
            if self._count == 0:
                self._changed.notify_all()

    def wait_until_idle(self, timeout_s):
        """Returns when there is none, or after that time."""
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0, timeout_s)


class _HandlerThreads(ThreadPoolExecutor):
    """Threads for calls, which are in progress from their arrival on."""

    def __init__(self, progress, name):
        super().__init__(HANDLER_THREADS, name)
        self._progress = progress

    def submit(self, *args, **kwargs):
        """Called by grpc when a call has arrived."""
        self._progress.begin()
        future = super().submit(*args, **kwargs)
        future.add_done_callback(self._progress.end)
        return future


class _Service:
    """The six methods. Errors of calls are in the reply; the gRPC status is OK."""

    def __init__(self, worker, progress, max_message_bytes):
        self._worker = worker
        self._progress = progress
        self.max_message_bytes = max_message_bytes
        # Threads of their own for calls and for streams, so that however many are busy,
        # the other kind, and Health, are answered.
        self.control_threads = ThreadPoolExecutor(2, "control")
        self._call_threads = _HandlerThreads(progress, "call")
        self._stream_threads = _HandlerThreads(progress, "stream")

    def methods(self):
        """The method handlers by name."""

        def execute(request, rpc):
            self._begin(rpc)
            return self._execute(request, rpc)

        def execute_stream(request, rpc):
            self._begin(rpc)
            return self._execute_stream(request, rpc)

        # Where grpc runs a method, if not in the server's own threads.
        execute.experimental_thread_pool = self._call_threads
        execute_stream.experimental_thread_pool = self._stream_threads
        unary, stream = (
            grpc.unary_unary_rpc_method_handler,
            grpc.unary_stream_rpc_method_handler,
        )
        return {
            name: make(
                method,
                request_deserializer=request.FromString,
                response_serializer=response.SerializeToString,
            )
            for name, make, method, request, response in (
                ("Execute", unary, execute, pb.ExecuteRequest, pb.ExecuteResponse),
                (
                    "ExecuteStream",
                    stream,
                    execute_stream,
                    pb.ExecuteRequest,
                    pb.StreamResponse,
                ),
                (
                    "ExecuteInSession",
                    unary,
                    execute,
                    pb.SessionRequest,
                    pb.ExecuteResponse,
                ),
                (
                    "ExecuteInSessionStream",
                    stream,
                    execute_stream,
                    pb.SessionRequest,
                    pb.StreamResponse,
                ),
                ("Health", unary, self._health, pb.HealthRequest, pb.HealthResponse),
                ("GetInfo", unary, self._get_info, pb.InfoRequest, pb.InfoResponse),
            )
        }

    def _begin(self, rpc):
        # In progress until the reply is sent, which is after the handler's thread is
        # done.
        self._progress.begin()
        if not rpc.add_callback(self._progress.end):
            self._progress.end()

    def _execute(self, request, rpc):
        reply = pb.ExecuteResponse()
        try:
            args, context = self._opened(request, rpc)
            result = self._worker.registry.call(request.command, args, context)
            self._fill(reply, reply.result, result)
            reply.success = True
        except CallError as error:
            reply = pb.ExecuteResponse(error=error.text, code=error.code)
        reply.request_id = request.request_id
        reply.timestamp = time.time_ns()
        self._worker.count(reply.success)
        return reply

    def _execute_stream(self, request, rpc):
        index, counted = 0, False
        chunks = iter(())
        try:
            args, context = self._opened(request, rpc)
            chunks = self._worker.registry.stream(request.command, args, context)
            for chunk, final in chunks:
                reply = pb.StreamResponse(
                    is_final=final,
                    request_id=request.request_id,
                    timestamp=time.time_ns(),
                    chunk_index=index,
                )
                if chunk is not NO_CHUNK:
                    self._fill(reply, reply.chunk, chunk)
                if final:
                    counted = True
                    self._worker.count(True)
                    # An empty map and no chunk look the same: PROTOCOL.md 4.5.2.
                    reply.is_final = chunk is NO_CHUNK or len(reply.chunk) > 0
                yield reply
                index += 1
                if final and not reply.is_final:
                    yield pb.StreamResponse(
                        is_final=True,
                        request_id=request.request_id,
                        timestamp=time.time_ns(),
                        chunk_index=index,
                    )
        except CallError as error:
            counted = True
            self._worker.count(False)
            yield pb.StreamResponse(
                is_final=True,
                error=error.text,
                code=error.code,
                request_id=request.request_id,
                timestamp=time.time_ns(),
                chunk_index=index,
            )
        finally:
            # Also when the caller has cancelled: grpc then drops this generator.
            if not counted:
                self._worker.count(True)
            if hasattr(chunks, "close"):
                chunks.close()

    def _opened(self, request, rpc):
        """The arguments and the context of a call."""
        session_id = None
        if isinstance(request, pb.SessionRequest):
            session_id = request.session_id
            if not session_id:
                raise CallError(INVALID_ARGUMENT, "session_id is empty")
        timeout_ms = request.timeout_ms
        left_s = rpc.time_remaining()
        if left_s is not None and timeout_ms >= 0:
            left_ms = int(left_s * 1000) or -1
            timeout_ms = min(timeout_ms, left_ms) if timeout_ms else left_ms
        args = {key: from_map_bytes(value) for key, value in request.args.items()}
        context = self._worker.context(
            request.request_id, session_id, timeout_ms, rpc.add_callback
        )
        return args, context

    def _fill(self, reply, target, value):
        """Puts a result or chunk into the map of its reply."""
        try:
            for key, data in to_map(value).items():
                target[key] = data
        except EncodeError as error:
            raise CallError(
                HANDLER_FAILED, f"the result cannot be encoded: {printable(error)}"
            ) from None
        # The fields beside the map are small, but for the caller's own request_id.
        size = reply.ByteSize() + 1024
        if size > self.max_message_bytes:
            raise CallError(
                MESSAGE_TOO_LARGE,
                f"a result of {size} bytes is over the message limit of"
                f" {self.max_message_bytes}",
            )

    def _health(self, _request, _rpc):
        worker = self._worker
        return pb.HealthResponse(
            healthy=True,
            worker_id=worker.worker_id,
            uptime_ms=worker.uptime_ms,
            total_requests=worker.total_requests,
            total_errors=worker.total_errors,
            version=worker.version,
        )

    def _get_info(self, request, _rpc):
        worker = self._worker
        reply = pb.InfoResponse(
            worker_type=worker.name,
            version=worker.version,
            supported_commands=worker.registry.names(),
            system_info={k: str(v) for k, v in worker.system_info().items()},
        )
        if request.include_capabilities:
            reply.capabilities["streaming"] = "true"
            reply.capabilities["sessions"] = "true"
            reply.capabilities["max_message_bytes"] = str(self.max_message_bytes)
        if request.include_stats:
            uptime_ms = worker.uptime_ms
            reply.stats.requests_handled = worker.total_requests
            reply.stats.requests_failed = worker.total_errors
            reply.stats.uptime_ms = uptime_ms
            reply.stats.memory_usage_bytes = _rss_bytes()
            reply.stats.cpu_usage_percent = (
                100_000 * time.process_time() / max(1, uptime_ms)
            )
            reply.stats.active_sessions = worker.sessions.count()
        return reply


def _rss_bytes():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
