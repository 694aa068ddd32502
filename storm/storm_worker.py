"""A worker of the storm on the Python SDK: the commands of storm_worker.cc."""

import os
import resource
import signal
import time

# The SDK takes time to load, and the pid has to be known before.
_journal = os.open(
    os.environ["STORM_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
)
_plant = os.environ.get("STORM_PLANT", "")


def note(event, call_id):
    """Adds a line to the journal: one write, since all workers share it."""
    line = f"{event} {call_id} {os.getpid()} {time.monotonic_ns() // 1000}\n"
    os.write(_journal, line.encode())


note("start", 0)

from snakepit_bridge import Worker  # noqa: E402

worker = Worker("storm", capacity=int(os.environ["STORM_CAPACITY"]))


class Execution:
    """`with Execution(id):` notes when an execution begins and when it ends."""

    def __init__(self, call_id):
        self._id = call_id

    def __enter__(self):
        note("begin", self._id)
        if _plant == "double" and self._id % 10 == 0:
            note("begin", self._id)

    def __exit__(self, *_):
        note("end", self._id)


def reply(call_id, **more):
    return {"id": call_id, "pid": os.getpid(), **more}


@worker.command("work")
def work(context, id, ms):
    with Execution(id):
        context.wait(ms / 1000)
        return reply(id)


@worker.command("chunks")
def chunks(id, count, bytes):
    with Execution(id):
        data = "x" * bytes
        for number in range(count):
            yield reply(id, number=number, data=data)


@worker.command("remember")
def remember(context, id):
    with Execution(id):
        context.session["count"] = context.session.get("count", 0) + 1
        return reply(id, count=context.session["count"])


@worker.command("flood")
def flood(id, bytes):
    with Execution(id):
        line = b"x" * 127 + b"\n"
        block = line * 512
        for _ in range(bytes // len(block)):
            written = 0
            while written < len(block):
                written += os.write(2, block[written:])
        return reply(id)


@worker.command("garbage")
def garbage(id, bytes):
    with Execution(id):
        for name in os.listdir("/proc/self/fd"):
            try:
                if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                    os.write(int(name), bytes)
            except OSError:
                pass  # it listens, or has been closed meanwhile
        return reply(id)


@worker.command("crash")
def crash(id, code=0, signal=0):
    with Execution(id):
        if signal:
            os.kill(os.getpid(), signal)
        os._exit(code)


def start_as_told():
    """Obeys the control file: a delay of the start, or an exit instead."""
    with open(os.environ["STORM_CONTROL"], encoding="ascii") as file:
        delay_ms, exit_code = map(int, file.read().split())
    time.sleep(delay_ms / 1000)
    if exit_code:
        os._exit(exit_code)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    start_as_told()
    worker.main()
