"""A v1 worker with one fault, for tests of the pool.

Start: python3 misbehaving_worker.py --fault NAME [--until FIFO] [--record FILE]

A fault of the start-up shows at once; every other one shows when the command `fault` is
called. Until then, and with the fault `none`, it is a v1 worker: ping works.
--record appends a line `PID COMMAND ID` for each request, before it is executed.
"""

import argparse
import json
import os
import random
import resource
import signal
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import legacy_stdio  # noqa: E402

EXIT_AT_ONCE_CODE = 3
EXIT_MID_REQUEST_CODE = 7
FLOOD_BYTES = 64 << 20
GRANDCHILD_SECONDS = 3600


def stay_for_ever():
    while True:
        signal.pause()


def send(reply):
    legacy_stdio.write_frame(json.dumps(reply).encode("utf-8"))


def good_reply(request):
    return {
        "id": request.get("id"),
        "success": True,
        "result": {"status": "ok", "survived": True},
        "timestamp": legacy_stdio.iso_time(),
    }


# Faults of the start-up.


def exits_at_once():
    print("fatal: no such model", file=sys.stderr, flush=True)
    sys.exit(EXIT_AT_ONCE_CODE)


def hangs_in_start_up():
    stay_for_ever()


def prints_before_ready():
    legacy_stdio.write_bytes(b"hello\n")


def ignores_sigterm():
    """Ignores the end of its input, too. Only SIGKILL ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


START_UP_FAULTS = {
    "exits-at-once": exits_at_once,
    "hangs-in-start-up": hangs_in_start_up,
    "prints-before-ready": prints_before_ready,
    "ignores-sigterm": ignores_sigterm,
}

# Faults of the command `fault`.


def prints_in_handler(request, options):
    legacy_stdio.write_bytes(b"hello\n")
    send(good_reply(request))


def garbage(request, options):
    """Sends 256 random bytes, always the same. As a length they claim almost 4 GiB."""
    legacy_stdio.write_bytes(random.Random(1).randbytes(256))


def claims_2gib(request, options):
    legacy_stdio.write_bytes(struct.pack(">I", 0x7FFFFFFF) + b"{")


def zero_length_frame(request, options):
    legacy_stdio.write_frame(b"")


def bad_json(request, options):
    legacy_stdio.write_frame(b'{"id": %d, "success": tru' % request["id"])


def reply_without_id(request, options):
    reply = good_reply(request)
    del reply["id"]
    send(reply)


def wrong_id(request, options):
    send({**good_reply(request), "id": request["id"] + 1_000_000})


def success_without_result(request, options):
    reply = good_reply(request)
    del reply["result"]
    send(reply)


def infinity(request, options):
    send({**good_reply(request), "result": {"status": "ok", "value": float("inf")}})


def half_a_frame(request, options):
    payload = json.dumps(good_reply(request)).encode("utf-8")
    frame = struct.pack(">I", len(payload)) + payload
    legacy_stdio.write_bytes(frame[: len(frame) // 2])
    os._exit(0)


def closes_stdout(request, options):
    os.close(1)
    stay_for_ever()


def exits_mid_request(request, options):
    os._exit(EXIT_MID_REQUEST_CODE)


def killed_mid_request(request, options):
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGSEGV)
    stay_for_ever()


def silent(request, options):
    pass


def late_reply(request, options):
    """Replies after the FIFO was opened for writing and closed."""
    with open(options.until, "rb") as fifo:
        fifo.read()
    send(good_reply(request))


def stderr_flood(request, options):
    line = b"x" * 1023 + b"\n"
    block = line * 64
    for _ in range(FLOOD_BYTES // len(block)):
        sys.stderr.buffer.write(block)
    sys.stderr.buffer.flush()
    send(good_reply(request))


def grandchild(request, options):
    """Starts a child that holds stdout and outlives this process. Its pid is a line on stderr."""
    child = subprocess.Popen(["/bin/sleep", str(GRANDCHILD_SECONDS)])
    print(f"grandchild {child.pid}", file=sys.stderr, flush=True)
    os._exit(EXIT_MID_REQUEST_CODE)


CALL_FAULTS = {
    "prints-in-handler": prints_in_handler,
    "garbage": garbage,
    "claims-2gib": claims_2gib,
    "zero-length-frame": zero_length_frame,
    "bad-json": bad_json,
    "reply-without-id": reply_without_id,
    "wrong-id": wrong_id,
    "success-without-result": success_without_result,
    "infinity": infinity,
    "half-a-frame": half_a_frame,
    "closes-stdout": closes_stdout,
    "exits-mid-request": exits_mid_request,
    "killed-mid-request": killed_mid_request,
    "silent": silent,
    "late-reply": late_reply,
    "stderr-flood": stderr_flood,
    "grandchild": grandchild,
}


def record(path, request):
    line = f"{os.getpid()} {request.get('command')} {request.get('id')}\n"
    with open(path, "a") as file:  # One write, so that workers can share the file.
        file.write(line)


def serve(options):
    codec = legacy_stdio.JsonCodec()
    commands = legacy_stdio.Commands(version="1.0.0")
    while True:
        try:
            request = codec.decode(legacy_stdio.read_frame())
        except legacy_stdio.EndOfInput:
            return
        if options.record:
            record(options.record, request)
        if request.get("command") == "fault" and options.fault in CALL_FAULTS:
            CALL_FAULTS[options.fault](request, options)
        else:
            send(legacy_stdio.answer(commands, request))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", default="pool-worker")
    parser.add_argument(
        "--fault", choices=["none", *START_UP_FAULTS, *CALL_FAULTS], default="none"
    )
    parser.add_argument("--until", help="the FIFO that late-reply waits for")
    parser.add_argument("--record", help="the file that requests are recorded in")
    options = parser.parse_args()
    if options.fault == "late-reply" and not options.until:
        parser.error("--fault late-reply needs --until")
    legacy_stdio.end_at_once_on_sigterm()
    START_UP_FAULTS.get(options.fault, lambda: None)()
    serve(options)
    if options.fault == "ignores-sigterm":
        stay_for_ever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
