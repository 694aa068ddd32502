"""The fixture worker on the Python SDK: the commands of //src/worker/testing:fixture_worker."""

import os

from snakepit_bridge import Worker

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


if __name__ == "__main__":
    worker.main()
