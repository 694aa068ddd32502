"""Worker: commands, statistics of their calls, and the command line to serve them."""

import atexit
import os
import sys
import time
from _thread import allocate_lock

from . import forked
from .calls import Context
from .registry import Registry
from .secret import TOKEN
from .sessions import Sessions
from .version import VERSION

_DEFAULT_MAX_FRAME_BYTES = 64 << 20
MAX_CAPACITY = 65_536


class Worker:
    """A set of commands, and a process that serves them to a pool.

    Every worker has the commands `ping`, by which a pool finds it ready, and `info`. Commands of
    these names replace them. All commands are added before main() is called.

    healthy: bool, the worker's answer to health checks over both transports; True at first. Any
        thread may set it to False when the worker can take no calls. The pool then gives it none,
        or replaces it (PROTOCOL.md 6.10.5). Draining does not change the value.
    worker_id: str, the pool's name for this worker, from SNAKEPIT_WORKER_ID; else "name-pid".

    The other members serve the SDK's servers and the built-in commands.
    """

    def __init__(self, name, version=VERSION, capacity=1):
        """Raises ValueError if the capacity is out of range.

        name: str, the kind of worker that `ping`, `info` and --version show.
        version: str, the version that `info`, health checks and --version show.
        capacity: int, 1 to 65,536: the most handlers that run at a time. With more than 1,
            handlers run on several threads and must be thread-safe. With 1, a worker over stdio
            runs all handlers on the main thread.
        """
        if type(capacity) is not int or not 1 <= capacity <= MAX_CAPACITY:
            raise ValueError(
                f"capacity must be an integer from 1 to {MAX_CAPACITY}, not {capacity!r}"
            )
        self.name = name
        self.version = version
        self.capacity = capacity
        self.healthy = True
        self.worker_id = os.environ.get("SNAKEPIT_WORKER_ID") or f"{name}-{os.getpid()}"
        self.registry = Registry()
        self.sessions = Sessions()
        self._started_ns = time.monotonic_ns()
        self._lock = allocate_lock()
        self._total_requests = 0
        self._total_errors = 0
        self.registry.add("ping", self._ping)
        self.registry.add("info", self._info)

    def command(self, name):
        """A decorator that adds a function as the handler of a command.

        A later handler of the same name replaces an earlier one. The decorator raises ValueError
        if the name is no text or empty, and TypeError if the function is asynchronous or has a
        positional-only parameter other than `context`.

        name: str, the command's name.
        """

        def add(handler):
            self.registry.add(name, handler)
            return handler

        return add

    def main(self, argv=None):
        """Serves as the command line says, and exits the process; does not return.

        The exit status is 0 after the pool has ended the worker, 1 if serving failed, and 2 for
        a bad command line. Must be called on the main thread.

        Raises RuntimeError in a process that multiprocessing has started and that only imports
        the main module: call it under `if __name__ == "__main__":`. Raises ForkedProcess, a
        RuntimeError, in a process that a handler has forked.

        argv: list of str, the command line without the program's name; sys.argv by default.
        """
        forked.check("worker.main()")
        options = _parse_command_line(self, sys.argv[1:] if argv is None else argv)
        _refuse_multiprocessing(options.transport)
        if options.transport == "grpc":
            from .grpc_server import serve
        else:
            from .stdio_server import serve
        _leave(serve(self, options))

    def context(self, request_id, session_id=None, timeout_ms=0):
        """The Context of a new call."""
        session = None if session_id is None else self.sessions.get(session_id)
        return Context(self.worker_id, request_id, session_id, timeout_ms, session)

    def count(self, succeeded):
        """Counts a call that has ended. Thread-safe."""
        with self._lock:
            self._total_requests += 1
            if not succeeded:
                self._total_errors += 1

    @property
    def total_requests(self):
        """The number of calls that have ended, failed ones included."""
        return self._total_requests

    @property
    def total_errors(self):
        """The number of calls that have failed."""
        return self._total_errors

    @property
    def uptime_ms(self):
        """Milliseconds since the worker was constructed, an int."""
        return (time.monotonic_ns() - self._started_ns) // 1_000_000

    def system_info(self):
        """The process id, the interpreter's version and the platform: a dict."""
        system = os.uname()
        return {
            "pid": os.getpid(),
            "python_version": _python_version(),
            "platform": f"{system.sysname}-{system.release}-{system.machine}",
        }

    def health(self):
        """The answer to a health check: a dict. PROTOCOL.md 6.10.3."""
        return {
            "healthy": bool(self.healthy),
            "worker_id": self.worker_id,
            "uptime_ms": self.uptime_ms,
            "total_requests": self._total_requests,
            "total_errors": self._total_errors,
            "version": self.version,
        }

    def info(self, max_message_bytes):
        """The worker's description and statistics: a dict. PROTOCOL.md 6.10.4."""
        return {
            "worker_type": self.name,
            "version": self.version,
            "supported_commands": self.registry.names(),
            "capabilities": {
                "streaming": "true",
                "sessions": "true",
                "max_message_bytes": str(max_message_bytes),
            },
            "stats": self.stats(),
            "system_info": {k: str(v) for k, v in self.system_info().items()},
        }

    def stats(self):
        """Statistics of the calls and the process: a dict."""
        uptime_ms = self.uptime_ms
        return {
            "requests_handled": self._total_requests,
            "requests_failed": self._total_errors,
            "uptime_ms": uptime_ms,
            "memory_usage_bytes": _rss_bytes(),
            "cpu_usage_percent": 100_000 * time.process_time() / max(1, uptime_ms),
            "active_sessions": self.sessions.count(),
        }

    def _ping(self, context, /, **args):
        """The command `ping`: shows that the worker serves, and echoes the arguments."""
        return {
            "status": "ok",
            "bridge_type": self.name,
            "uptime": self.uptime_ms / 1000,
            "requests_handled": self._total_requests,
            "timestamp": time.time(),
            "python_version": _python_version(),
            "pid": os.getpid(),
            "worker_id": args.get("worker_id") or context.worker_id,
            "echo": args,
        }

    def _info(self):
        """The command `info`: describes the worker and lists its commands."""
        return {
            "status": "ok",
            "bridge_info": {
                "name": self.name,
                "version": self.version,
                "supported_commands": self.registry.names(),
                "uptime": self.uptime_ms / 1000,
                "total_requests": self._total_requests,
            },
            "system_info": self.system_info(),
            "timestamp": time.time(),
        }


def _leave(status):
    """Ends the process without waiting for threads that handlers have left behind."""
    atexit._run_exitfuncs()
    forked.close_streams()
    os._exit(status)


def _refuse_multiprocessing(transport):
    process = sys.modules.get("multiprocessing.process")
    if process is None:
        return
    # multiprocessing uses the same flag to detect a process that is started without the guard.
    if getattr(process.current_process(), "_inheriting", False):
        raise RuntimeError(
            "worker.main() was called while multiprocessing imports the worker's main module"
            " in a new process, which is not the worker. Call it under the guard"
            ' `if __name__ == "__main__":`'
        )
    if transport == "stdio" and process.parent_process() is not None:
        raise RuntimeError(
            "worker.main() was called in a process of multiprocessing, whose stdin is /dev/null."
            " A worker over stdio must be started as a program"
        )


def _rss_bytes():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _python_version():
    return "%d.%d.%d" % sys.version_info[:3]


def _parse_command_line(worker, argv):
    import argparse

    parser = argparse.ArgumentParser(
        description=f"The worker {worker.name}, which serves a Snakepit pool.", allow_abbrev=False
    )
    add = parser.add_argument
    add("--transport", choices=["stdio", "grpc"], default="stdio", help="stdio by default")
    add("--port", type=_port, help="gRPC: the TCP port; 0 (default) takes any free port")
    add("--host", default="127.0.0.1", help="gRPC: the port's address (default: %(default)s)")
    add("--socket", metavar="PATH", help="gRPC: the path of a Unix socket instead of a port")
    add("--mode", choices=["pool-worker"], help="ignored; older pools pass it")
    add("--version", action="version", version=f"{worker.name} {worker.version}")
    options = parser.parse_args(argv)
    if options.transport == "stdio" and (options.socket or options.port is not None):
        parser.error("--port and --socket need --transport grpc")
    if options.socket is not None and options.port is not None:
        parser.error("--port and --socket exclude each other")
    if options.socket == "":
        parser.error("--socket: the path is empty")
    options.max_frame_bytes = _max_frame_bytes(parser)
    options.token = _token(parser) if options.transport == "grpc" else None
    return options


def _port(text):
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError(text)
    return port


def _max_frame_bytes(parser):
    text = os.environ.get("SNAKEPIT_MAX_FRAME_BYTES")
    if not text:
        return _DEFAULT_MAX_FRAME_BYTES
    if not text.isascii() or not text.isdigit() or not 1024 <= int(text) < 1 << 31:
        parser.error(
            f"SNAKEPIT_MAX_FRAME_BYTES must be an integer from 1024 to 2147483647, not {text!r}"
        )
    return int(text)


def _token(parser):
    if not TOKEN:
        return None
    if not (TOKEN.isascii() and TOKEN.isalnum() and 32 <= len(TOKEN) <= 128):
        parser.error("SNAKEPIT_TOKEN must be 32 to 128 ASCII letters and digits")
    return TOKEN
