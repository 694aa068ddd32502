"""A worker with the commands that the tests need."""

import os
import select
import subprocess
import sys

from snakepit_bridge import InvalidArgument, Last, Worker

worker = Worker("fixture", version="1.2.3")
print("printed while the handlers are loaded")


@worker.command("greet")
def greet(name="world"):
    return {"greeting": f"Hello, {name}!"}


@worker.command("required")
def required(a, *, b, c=3):
    return [a, b, c]


@worker.command("print")
def prints():
    print("hello from a handler")
    sys.stdout.flush()
    os.write(1, b"and past Python\n")
    return "printed"


@worker.command("child")
def child():
    script = "import sys; print('from a child', repr(sys.stdin.read()))"
    subprocess.run([sys.executable, "-c", script], check=True)
    # close_fds=False, as programs in other languages start theirs.
    listing = subprocess.check_output(["ls", "/proc/self/fd"], close_fds=False)
    return {"inherited": listing.decode()}


@worker.command("fork")
def fork():
    if os.fork() == 0:
        os.read(0, 100)
        os._exit(0)
    os.wait()
    return "forked"


@worker.command("bad_value")
def bad_value(kind):
    cycle = []
    cycle.append(cycle)
    return {
        "object": object(),
        "nan": float("nan"),
        "big": [1 << 64],
        "key": {1: 2},
        "surrogate": "\ud800",
        "cycle": cycle,
        "set": {"x": {1, 2}},
    }[kind]


@worker.command("fail")
def fail(kind="error", text="it broke"):
    if kind == "exit":
        sys.exit(0)
    if kind == "argument":
        raise InvalidArgument(text)
    raise RuntimeError(text)


@worker.command("numbers")
def numbers(count, last=False, fail_at=None, bad_at=None):
    for number in range(count):
        if number == fail_at:
            raise KeyError("midway")
        chunk = {"number": object() if number == bad_at else number}
        yield Last(chunk) if last and number == count - 1 else chunk


@worker.command("wait_for")
def wait_for(context, started, release):
    """Opens one named pipe to say that it runs, and ends when the other is opened."""
    released = os.open(release, os.O_RDONLY | os.O_NONBLOCK)
    with open(started, "wb"):
        pass
    select.select([released], [], [])
    os.close(released)
    return {"session_id": context.session_id, "worker_id": context.worker_id}


@worker.command("wait_stream")
def wait_stream(context, waiting, closed):
    """Streams one chunk, waits for its end, and tells of both by named pipes."""
    try:
        yield {"number": 0}
        with open(waiting, "wb"):
            pass
        context.wait(3600)
    finally:
        with open(closed, "wb") as file:
            file.write(b"closed")


@worker.command("context")
def context_of(context, count_up=False):
    if count_up:
        context.session["count"] = context.session.get("count", 0) + 1
    return {
        "session_id": context.session_id,
        "request_id": context.request_id,
        "worker_id": context.worker_id,
        "has_deadline": context.deadline_left_ms is not None,
        "count": (context.session or {}).get("count"),
    }


@worker.command("wait")
def wait(context, seconds):
    return context.wait(seconds)


@worker.command("bytes")
def give_bytes(data=b"\xff\x00"):
    return {"data": data, "type": type(data).__name__}


@worker.command("sized")
def sized(size):
    return "x" * size


if __name__ == "__main__":
    worker.main()
