"""The fixture worker: the commands that the tests of this folder need.

    python3 fixture_worker.py [--capacity N] [options of every worker of the SDK]
"""

import argparse
import os
import posix
import select
import subprocess
import sys
import threading
import time

from snakepit_bridge import InvalidArgument, Last, Worker

LIMIT_S = 20.0

_parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
_parser.add_argument("--capacity", type=int, default=1)
_options, _rest = _parser.parse_known_args()

worker = Worker("fixture", version="1.2.3", capacity=_options.capacity)
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
    # close_fds=False: programs in other languages do not close descriptors either.
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
    """Opens the named pipe `started`, and ends when `release` is opened for writing."""
    released = os.open(release, os.O_RDONLY | os.O_NONBLOCK)
    with open(started, "wb"):
        pass
    select.select([released], [], [])
    os.close(released)
    return {"session_id": context.session_id, "worker_id": context.worker_id}


@worker.command("session_then")
def session_then(context, started, release):
    """The count of the session, after a wait_for."""
    wait_for(context, started, release)
    return context.session["count"]


@worker.command("echo_text")
def echo_text(text):
    return text


@worker.command("wait_stream")
def wait_stream(context, waiting, closed):
    """Streams a chunk, opens `waiting`, waits, and writes to `closed` when it is closed."""
    try:
        yield {"number": 0}
        with open(waiting, "wb"):
            pass
        context.wait(3600)
    finally:
        with open(closed, "wb") as file:
            file.write(b"closed")


@worker.command("ticks")
def ticks(context, interval):
    """Streams a chunk at once, and one after each interval until the call is cancelled."""
    number = 0
    while True:
        yield {"number": number}
        number += 1
        if not context.wait(interval):
            return


_together = threading.Condition()
_present = 0


@worker.command("together")
def together(context, count):
    """Ends when `count` calls of it have begun; reports the time that took."""
    global _present
    began = time.monotonic()
    with _together:
        _present += 1
        _together.notify_all()
        complete = _together.wait_for(lambda: _present >= count, 10)
    return {
        "complete": complete,
        "waited_ms": 1000 * (time.monotonic() - began),
        "main": threading.current_thread() is threading.main_thread(),
    }


_running = 0
_most_running = 0


@worker.command("nap")
def nap(seconds=0.01):
    """The most calls of it that have been seen to run at once."""
    global _running, _most_running
    with _together:
        _running += 1
        _most_running = max(_running, _most_running)
    time.sleep(seconds)
    with _together:
        _running -= 1
        return _most_running


@worker.command("until_cancelled")
def until_cancelled(context, started, how="raise"):
    """Opens the named pipe `started`, and waits until the call is cancelled."""
    cancelled = threading.Event()
    context.on_cancel(cancelled.set)
    with open(started, "wb"):
        pass
    assert not context.wait(LIMIT_S) and context.cancelled and cancelled.is_set()
    if how == "raise":
        context.check()
    return how


@worker.command("burn")
def burn(started, seconds):
    """Opens `started`, and computes for that many seconds without a look at the context."""
    with open(started, "wb"):
        pass
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return "done"


@worker.command("blocks")
def blocks(context, count, size, log=None):
    """Streams `count` chunks of `size` bytes; writes a dot to the file `log` for each."""
    try:
        for number in range(count):
            if log:
                with open(log, "ab", buffering=0) as file:
                    file.write(b".")
            yield b"x" * size
    except GeneratorExit:
        if log:
            with open(log, "ab", buffering=0) as file:
                file.write(b"closed")
        raise


@worker.command("identity")
def identity(value=None):
    return value


@worker.command("kinds")
def kinds(**args):
    return {name: type(value).__name__ for name, value in args.items()}


@worker.command("buffers")
def buffers():
    return [bytearray(b"\xff\x01"), memoryview(b"abc")]


@worker.command("environment")
def environment():
    child = subprocess.check_output([sys.executable, "-c", "import os; print(os.environ)"])
    with subprocess.Popen(["cat", "/proc/self/environ"], stdout=subprocess.PIPE) as other:
        seen = [dict(os.environ), str(os.environb), str(posix.environ), child.decode()]
        seen.append(other.stdout.read().decode())
    with open("/proc/self/environ", encoding="utf-8") as file:
        seen.append(file.read())
    return seen


@worker.command("set_healthy")
def set_healthy(healthy):
    worker.healthy = healthy


@worker.command("context")
def context_of(context, count_up=False):
    if count_up:
        context.session["count"] = context.session.get("count", 0) + 1
    return {
        "session_id": context.session_id,
        "request_id": context.request_id,
        "worker_id": context.worker_id,
        "has_deadline": context.time_left_ms is not None,
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
    worker.main(_rest)
