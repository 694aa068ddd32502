"""The Python worker SDK of Snakepit: commands served over both transports.

    from snakepit_bridge import Worker

    worker = Worker("greeter")

    @worker.command("greet")
    def greet(name="world"):
        return {"greeting": f"Hello, {name}!"}

    if __name__ == "__main__":
        worker.main()

A handler gets the call's arguments as keyword arguments. A handler whose first parameter is named
`context` gets a Context there. A generator function is a streaming handler: it yields chunks, and
`yield Last(chunk)` marks the final one. A handler raises InvalidArgument for arguments that cannot
be right. Any other exception fails the call with its type and message.

The caller may cancel a call, and the call's deadline may pass, while its handler runs. A handler
that takes long looks at `context.cancelled`, waits with `context.wait(seconds)`, or calls
`context.check()`, which raises Cancelled or DeadlineExceeded; it need not catch them. A streaming
handler is closed at its `yield`, so it cleans up in `finally`. A `yield` blocks while the pool is
not ready for more chunks (backpressure).

One handler runs at a time. `Worker(name, capacity=N)` runs up to N handlers at a time, on several
threads and over both transports: they must be thread-safe then.

The guard `if __name__ == "__main__":` is needed because multiprocessing imports the main module in
each process that it starts; worker.main() raises RuntimeError there. A handler may fork, but the
child is not the worker. The child ends with os._exit() or as a process of multiprocessing. A child
that returns from the handler is ended without a reply. The Context's methods that concern the
caller raise ForkedProcess in the child.

Values are None, bool, int (INT64_MIN to UINT64_MAX), float, str, bytes, list, tuple and dict with
str keys, nested at most 64 deep. A tuple arrives as a list, a bytearray or memoryview as bytes. A
pool of protocol version 2 gets them unchanged. JSON to a pool of version 1 carries no bytes, NaN or
infinity: a call with such a result fails.

A request whose decoded arguments would take more memory than max_decoded_bytes is refused with
MESSAGE_TOO_LARGE before they are decoded. The limit is 512 MiB, or 8 times the largest message if
that is more.
"""

from . import secret  # first: it removes the token from the environment
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
