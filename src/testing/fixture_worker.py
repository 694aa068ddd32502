"""The fixture worker on the Python SDK: the commands of //src/worker/testing:fixture_worker."""

import os
import select
import signal
import sys
import time

from snakepit_bridge import ForkedProcess, InvalidArgument, Worker

capacity = int(os.environ.get("FIXTURE_CAPACITY", "1"))
worker = Worker("fixture", capacity=capacity)


@worker.command("echo")
def echo(**args):
    return args


@worker.command("pid")
def pid():
    return os.getpid()


@worker.command("sleep")
def sleep(context, ms):
    context.wait(ms / 1000)
    return "slept"


@worker.command("stream_bytes")
def stream_bytes(total_bytes, chunk_bytes):
    chunk = bytes(range(256)) * (chunk_bytes // 256 + 1)
    chunk = chunk[:chunk_bytes]
    for begin in range(0, total_bytes, chunk_bytes):
        yield chunk[: min(chunk_bytes, total_bytes - begin)]


@worker.command("count")
def count(n):
    for number in range(n):
        yield {"i": number}


@worker.command("fail")
def fail(message="no row 2"):
    raise RuntimeError(message)


@worker.command("refuse")
def refuse(text="never right"):
    raise InvalidArgument(text)


@worker.command("ignore_cancel")
def ignore_cancel(ms):
    time.sleep(ms / 1000)
    return "done"


@worker.command("session_incr")
def session_incr(context):
    state = {} if context.session is None else context.session
    state["count"] = state.get("count", 0) + 1
    return state["count"]


@worker.command("hold")
def hold(started, release):
    released = os.open(release, os.O_RDONLY | os.O_NONBLOCK)
    with open(started, "wb"):
        pass
    select.select([released], [], [])
    os.close(released)
    return "held"


@worker.command("fork_child")
def fork_child(context, how):
    child = os.fork()
    if child == 0:
        if how == "raise":
            raise RuntimeError("raised in the child")
        if how == "exit":
            sys.exit(7)
        if how == "use":
            use_in_child(context)
        if how == "wait":
            signal.pause()
        return "from the child"
    if how == "wait":
        os.kill(child, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def use_in_child(context):
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
    yield {"number": 0}
    child = os.fork()
    if child == 0:
        yield {"number": "from the child"}
    os.waitpid(child, 0)
    yield {"number": 1}


@worker.command("fork_and_stay")
def fork_and_stay():
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    return child


if __name__ == "__main__":
    worker.main()
