"""The fixture worker of the Python SDK: commands for the tests of the SDK and of the pool, and
those of conformance/README.md for the judge. The C++ SDK's is src/worker/testing/fixture_worker.cc.
A command of the same name does the same in both, but `print` uses every way to print that its
language has.

    python3 fixture_worker.py [--capacity N] [options of every worker of the SDK]
"""

import argparse
import os
import posix
import select
import signal
import subprocess
import sys
import threading
import time

from snakepit_bridge import ForkedProcess, InvalidArgument, Last, Worker

LIMIT_S = 20.0

_parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
_parser.add_argument("--capacity", type=int, default=1)
_options, _rest = _parser.parse_known_args()

worker = Worker("fixture", version="1.2.3", capacity=_options.capacity)
print("printed while the handlers are loaded")


# The commands of conformance/README.md.


@worker.command("ping_stream")
def ping_stream(context, count=5, interval=1.0):
    for number in range(1, count + 1):
        if number > 1:
            context.wait(interval)
        yield {
            "ping_number": number,
            "timestamp": time.time(),
            "message": f"Ping {number} of {count}",
        }


@worker.command("conf.echo")
def conf_echo(value=None):
    return value


@worker.command("conf.sleep")
def conf_sleep(context, ms=0, ignore=False, begun=None):
    left_ms = context.time_left_ms
    if begun is not None:
        open(begun, "w").close()
    if ignore:
        time.sleep(ms / 1000)
    else:
        context.wait(ms / 1000)
        context.check()
    return {"left_ms": None if left_ms is None else int(left_ms)}


_chunks_made = 0


@worker.command("conf.stream")
def conf_stream(count=0, bytes=0, error=None):
    global _chunks_made
    data = "x" * bytes
    for number in range(count):
        _chunks_made += 1  # no case of the judge has two streams at once
        yield {"n": number, "data": data}
    if error is not None:
        raise ValueError(error)


@worker.command("conf.sent_count")
def conf_sent_count():
    return _chunks_made


@worker.command("conf.raise")
def conf_raise(text=""):
    raise ValueError(text)


@worker.command("conf.bad_value")
def conf_bad_value():
    return object()


@worker.command("conf.incr")
def conf_incr(context):
    state = {} if context.session is None else context.session
    state["count"] = state.get("count", 0) + 1
    return state["count"]


# Arguments, results and failures.


@worker.command("echo")
def echo(**args):
    return args


@worker.command("pid")
def pid():
    return os.getpid()


@worker.command("required")
def required(a, *, b, c=3):
    return [a, b, c]


@worker.command("kinds")
def kinds(**args):
    return {name: type(value).__name__ for name, value in args.items()}


@worker.command("buffers")
def buffers():
    return [bytearray(b"\xff\x01"), memoryview(b"abc")]


@worker.command("sized")
def sized(size):
    return "x" * size


@worker.command("bad_value")
def bad_value(kind):
    cycle = []
    cycle.append(cycle)
    return {
        "nan": float("nan"),
        "big": [1 << 64],
        "key": {1: 2},
        "surrogate": "\ud800",
        "cycle": cycle,
        "set": {"x": {1, 2}},
    }[kind]


@worker.command("refuse")
def refuse(text="never right"):
    raise InvalidArgument(text)


@worker.command("exit")
def exit_by_exception():
    sys.exit(0)


@worker.command("context")
def context_of(context):
    left_ms = context.time_left_ms
    return {
        "worker_id": context.worker_id,
        "request_id": context.request_id,
        "session_id": context.session_id,
        "time_left_ms": None if left_ms is None else int(left_ms),
    }


@worker.command("set_healthy")
def set_healthy(healthy):
    worker.healthy = healthy


# Handlers that run until something happens, and how many run at once.


def announce_start(started):
    """Opens the named pipe `started` for writing: the test goes on when it reads the end."""
    with open(started, "wb"):
        pass


@worker.command("hold")
def hold(started, release):
    """Opens the named pipe `started`, and ends when `release` is opened for writing."""
    released = os.open(release, os.O_RDONLY | os.O_NONBLOCK)
    announce_start(started)
    select.select([released], [], [])
    os.close(released)
    return "held"


@worker.command("session_then")
def session_then(context, started, release):
    """The count of the session, after a hold."""
    hold(started, release)
    return context.session["count"]


@worker.command("until_cancelled")
def until_cancelled(context, started, how="raise"):
    """Opens the named pipe `started`, and waits until the call is cancelled."""
    cancelled = threading.Event()
    context.on_cancel(cancelled.set)
    announce_start(started)
    assert not context.wait(LIMIT_S) and context.cancelled and cancelled.is_set()
    if how == "raise":
        context.check()
    return how


@worker.command("burn")
def burn(started, seconds):
    """Opens `started`, and computes for that many seconds without a look at the context."""
    announce_start(started)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return "done"


@worker.command("is_main_thread")
def is_main_thread():
    return threading.current_thread() is threading.main_thread()


_together = threading.Condition()
_begun = 0


@worker.command("meet")
def meet(context, count, i):
    """Returns `i` when `count` calls of it have begun; False when the call's time is over."""
    global _begun
    left_ms = context.time_left_ms
    with _together:
        _begun += 1
        _together.notify_all()
        limit_s = LIMIT_S if left_ms is None else left_ms / 1000
        return i if _together.wait_for(lambda: _begun >= count, limit_s) else False


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


# Streams.


@worker.command("stream_bytes")
def stream_bytes(total_bytes, chunk_bytes=65536):
    """The bytes 0 to 255 over and over, from 0 in each chunk."""
    chunk = bytes(range(256)) * (chunk_bytes // 256 + 1)
    chunk = chunk[:chunk_bytes]
    for begin in range(0, total_bytes, chunk_bytes):
        yield chunk[: min(chunk_bytes, total_bytes - begin)]


@worker.command("numbers")
def numbers(count, last=False, bad_at=None):
    """Streams numbers. The last one is a Last if so told, and the one at `bad_at` no value."""
    for number in range(count):
        chunk = object() if number == bad_at else number
        yield Last(chunk) if last and number == count - 1 else chunk


@worker.command("ticks")
def ticks(context, interval):
    """Streams a chunk at once, and one after each interval until the call is cancelled."""
    number = 0
    while True:
        yield {"number": number}
        number += 1
        if not context.wait(interval):
            return


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


@worker.command("wait_stream")
def wait_stream(context, waiting, closed):
    """Streams a chunk, opens `waiting`, waits, and writes to `closed` when it is closed."""
    try:
        yield {"number": 0}
        announce_start(waiting)
        context.wait(3600)
    finally:
        with open(closed, "wb") as file:
            file.write(b"closed")


# Isolation: output, children and the environment.


@worker.command("print")
def prints():
    print("hello from a handler")
    sys.stdout.flush()
    os.write(1, b"and past Python\n")
    return "printed"


@worker.command("child")
def child():
    """The stdin of a child as it reads it, its descriptors, and how often it has a token."""
    script = "cat; ls /proc/self/fd | tr '\\n' ' '; env | grep -c SNAKEPIT_TOKEN"
    # close_fds=False: programs in other languages do not close descriptors either.
    done = subprocess.run(["/bin/sh", "-c", script], stdout=subprocess.PIPE, close_fds=False)
    return done.stdout.decode()


@worker.command("environment")
def environment():
    own = subprocess.check_output([sys.executable, "-c", "import os; print(os.environ)"])
    with subprocess.Popen(["cat", "/proc/self/environ"], stdout=subprocess.PIPE) as other:
        seen = [dict(os.environ), str(os.environb), str(posix.environ), own.decode()]
        seen.append(other.stdout.read().decode())
    with open("/proc/self/environ", encoding="utf-8") as file:
        seen.append(file.read())
    return seen


@worker.command("fork_child")
def fork_child(context, how):
    """Forks a child that does `how`. Returns how it ended: exit status, or minus its signal."""
    forked = os.fork()
    if forked == 0:
        if how == "raise":
            raise RuntimeError("raised in the child")
        if how == "exit":
            sys.exit(7)
        if how == "read":
            signal.alarm(5)  # it does not wait for what never comes
            os._exit(len(os.read(0, 1)))
        if how == "use":
            use_in_child(context)
        if how == "wait":
            signal.pause()
        return "from the child"
    if how == "wait":
        os.kill(forked, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1])


def use_in_child(context):
    """Ends the process: with 0 when every function that concerns the pool refuses, by name."""
    uses = {
        "context.cancelled": lambda: context.cancelled,
        "context.check()": context.check,
        "context.wait()": lambda: context.wait(3600),
        "context.on_cancel()": lambda: context.on_cancel(print),
        "worker.main()": worker.main,
    }
    for name, use in uses.items():
        try:
            use()
        except ForkedProcess as error:
            if str(error).startswith(name):
                continue
        os._exit(1)
    os._exit(0)


@worker.command("fork_stream")
def fork_stream():
    """Streams two chunks, the second after a child has returned with another."""
    yield {"number": 0}
    forked = os.fork()
    if forked == 0:
        yield {"number": "from the child"}
    os.waitpid(forked, 0)
    yield {"number": 1}


@worker.command("fork_and_stay")
def fork_and_stay():
    """Forks a child that lives on, and returns its process id."""
    forked = os.fork()
    if forked == 0:
        signal.pause()
        os._exit(0)
    return forked


if __name__ == "__main__":
    worker.main(_rest)
