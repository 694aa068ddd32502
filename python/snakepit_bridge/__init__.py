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

Values are None, bool, int (INT64_MIN to UINT64_MAX), float, str, bytes, list, tuple and
dict with str keys. JSON carries no bytes and no NaN or infinity: such a result fails
the call. Over gRPC handlers run on up to 32 threads at once, over stdio one at a time.
"""

from .calls import Context, DeadlineExceeded, InvalidArgument, Last
from .version import VERSION as __version__
from .worker import Worker

__all__ = ["Context", "DeadlineExceeded", "InvalidArgument", "Last", "Worker"]
