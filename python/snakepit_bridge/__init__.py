"""The Python worker SDK of Snakepit: commands served over both transports.

    from snakepit_bridge import Worker

    worker = Worker("greeter")

    @worker.command("greet")
    def greet(name="world"):
        return {"greeting": f"Hello, {name}!"}

    if __name__ == "__main__":
        worker.main()

A handler gets the call's arguments as keyword arguments; one whose first parameter is
named `context` gets a Context there. A generator is a streaming handler: it yields
chunks, and `yield Last(chunk)` marks the final one. Raise InvalidArgument for arguments
that cannot be right; any other exception fails the call with its type and message.

A call can be cancelled, or run out of time, while its handler runs. Whoever writes a
handler that takes long looks at `context.cancelled`, waits by `context.wait(seconds)`,
or calls `context.check()`, which raises Cancelled or DeadlineExceeded; both may pass.
A streaming handler is closed at its yield: clean up in `finally`. A yield waits while the
pool is not ready for more.

One handler runs at a time. `Worker(name, capacity=N)` takes N calls at a time: handlers
then run on several threads at once and must be fit for that, on both transports.

The guard `if __name__ == "__main__":` keeps what multiprocessing starts from being workers: it
imports the main module there, and worker.main() says so. A handler may fork: the child is no
worker. It ends by os._exit() or as a process of multiprocessing; one that comes back from the
handler is ended, no reply is sent for it, and what has to do with the caller raises
ForkedProcess there.

Values are None, bool, int (INT64_MIN to UINT64_MAX), float, str, bytes, list, tuple and
dict with str keys, nested at most 64 deep; a tuple arrives as a list, a bytearray or a
memoryview as bytes. They reach a pool of protocol version 2 as they are. To one of version
1 JSON carries no bytes and no NaN or infinity: such a result fails the call.

A request whose arguments would take more memory than max_decoded_bytes (512 MiB, or 8 times the
largest message if that is more) is refused with MESSAGE_TOO_LARGE before they are decoded.
"""

from . import secret  # before all else: it takes the token out of sight
from .calls import Cancelled, Context, DeadlineExceeded, InvalidArgument, Last
from .forked import ForkedProcess
from .version import VERSION as __version__
from .worker import Worker

__all__ = [
    "Cancelled",
    "Context",
    "DeadlineExceeded",
    "ForkedProcess",
    "InvalidArgument",
    "Last",
    "Worker",
]
