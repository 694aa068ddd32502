"""A worker of the Python SDK with ping_stream and the fixture commands of README.md.

Start: python3 fixture_worker.py [--capacity N] [what every worker of the SDK takes]
"""

import argparse
import time

from snakepit_bridge import Worker


def add_commands(worker):
    """Adds ping_stream and the fixture commands to a worker, of whatever capacity."""
    sent = Counter()

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
    def echo(value=None):
        return value

    @worker.command("conf.sleep")
    def sleep(context, ms=0, ignore=False, begun=None):
        left_ms = context.time_left_ms
        if begun is not None:
            open(begun, "x").close()
        if ignore:
            time.sleep(ms / 1000)
        else:
            context.wait(ms / 1000)
            context.check()
        return {"left_ms": None if left_ms is None else int(left_ms)}

    @worker.command("conf.stream")
    def stream(count=0, bytes=0, error=None):
        data = "x" * bytes
        for number in range(count):
            sent.add()
            yield {"n": number, "data": data}
        if error is not None:
            raise ValueError(error)

    @worker.command("conf.sent_count")
    def sent_count():
        return sent.count

    @worker.command("conf.raise")
    def fail(text=""):
        raise ValueError(text)

    @worker.command("conf.bad_value")
    def bad_value():
        return object()

    @worker.command("conf.incr")
    def incr(context):
        if context.session is None:
            return 1
        context.session["count"] = context.session.get("count", 0) + 1
        return context.session["count"]


class Counter:
    """A number that goes up."""

    def __init__(self):
        self.count = 0

    def add(self):
        """One thread at a time: no case has two streams at once."""
        self.count += 1


def main():
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--capacity", type=int, default=1)
    options, rest = parser.parse_known_args()
    worker = Worker("fixture", capacity=options.capacity)
    add_commands(worker)
    worker.main(rest)


if __name__ == "__main__":
    main()
