"""A hostile or hopelessly broken worker. Each behaviour has a name.

Start: python3 hostile_worker.py BEHAVIOUR [FLAGS]

A behaviour of the start shows at once, and with --restarted only in a process that is started
in the place of another of the same worker. Every other one shows when the command `attack` is
called. Until then it is a good worker of version 2: ping, echo, pid and die work.

The environment variable HOSTILE_FOLDER names a folder of the test's.
"""

import argparse
import ctypes
import json
import os
import resource
import signal
import struct
import sys
import threading
import time

import msgpack

MIB = 1 << 20
FOLDER = os.environ.get("HOSTILE_FOLDER", "")
# Characters that a terminal obeys or that turn text round, and a forged line of a log.
CONTROLS = (
    "safe \x1b[2J\x1b]0;owned\x07 \x9b31m \u202egnp\u2066 \u200f \u2028 \r"
    "\nERROR forged: all is well\x7f"
)
PTRACE_ATTACH = 16

start_behaviours = {}
call_behaviours = {}


def at_start(function):
    """A behaviour that shows before the worker serves."""
    start_behaviours[function.__name__.replace("_", "-")] = function
    return function


def on_call(function):
    """A behaviour of the command `attack`."""
    call_behaviours[function.__name__.replace("_", "-")] = function
    return function


def stay_for_ever():
    """Never ends, except by SIGKILL."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()


def note(name, text):
    """Notes a text for the test in a file."""
    with open(os.path.join(FOLDER, name + ".new"), "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(file.name, os.path.join(FOLDER, name))


class Stdio:
    """The worker's end of its stdio. By itself it is a good worker."""

    def __init__(self, options):
        self.options = options
        self.codec = "json"
        self.lock = threading.Lock()
        self.hello = {}  # more members of the answer to the negotiation
        self.pong = {"status": "ok"}
        self.health = {
            "healthy": True,
            "worker_id": "hostile",
            "uptime_ms": 1,
            "total_requests": 0,
            "total_errors": 0,
            "version": "1",
            "calls_in_flight": 0,
        }

    def read(self, count):
        data = b""
        while len(data) < count:
            piece = os.read(0, count - len(data))
            if not piece:
                os._exit(0)
            data += piece
        return data

    def read_frame(self):
        return self.read(struct.unpack(">I", self.read(4))[0])

    def message(self):
        payload = self.read_frame()
        return msgpack.unpackb(payload) if self.codec == "msgpack" else json.loads(payload)

    def write(self, data):
        """Writes bytes unchanged, and not between those of another thread."""
        with self.lock:
            view = memoryview(data)
            while view:
                view = view[os.write(1, view) :]

    def write_frame(self, payload):
        self.write(struct.pack(">I", len(payload)) + payload)

    def send(self, message):
        if self.codec == "msgpack":
            self.write_frame(msgpack.packb(message))
        else:
            self.write_frame(json.dumps(message, ensure_ascii=False).encode())

    def succeed(self, request, result):
        self.send({"id": request["id"], "success": True, "result": result})

    def fail(self, request_id, error, code="HANDLER_FAILED"):
        self.send({"id": request_id, "success": False, "error": error, "code": code})

    def succeed_with(self, request, unit, count):
        """A result of `count` elements, each of them `unit` in the codec."""
        number = request["id"]
        if self.codec == "json":
            head = b'{"id":%d,"success":true,"result":[' % number
            payload = head + unit + (b"," + unit) * (count - 1) + b"]}"
        else:
            head = b"\x83\xa2id\xcf" + struct.pack(">Q", number)
            head += b"\xa7success\xc3\xa6result\xdd" + struct.pack(">I", count)
            payload = head + unit * count
        self.write_frame(payload)

    def negotiate(self):
        offer = json.loads(self.read_frame())
        self.codec = offer["supported"][0]
        answer = {"type": "protocol_selected", "protocol": self.codec}
        if self.options.version == 2:
            answer["version"] = 2
            answer["features"] = []
            answer["capacity"] = self.options.capacity
        payload = json.dumps({**answer, **self.hello}, ensure_ascii=False)
        self.write_frame(payload.encode())

    def serve(self):
        self.negotiate()
        while True:
            self.answer(self.message())

    def answer(self, message):
        kind = message.get("type")
        if kind == "health":
            self.succeed(message, self.health)
        elif kind is not None:
            return
        elif message["command"] == "ping":
            self.succeed(message, self.pong)
        elif message["command"] == "echo":
            self.succeed(message, message["args"])
        elif message["command"] == "pid":
            self.succeed(message, os.getpid())
        elif message["command"] == "die":
            os._exit(9)
        elif message["command"] == "attack":
            call_behaviours[self.options.behaviour](self, message)


# Behaviours at the start, on stdio.


@at_start
def no_fault(worker):
    """A good worker."""


@at_start
def huge_worker_id(worker):
    """Its name in the handshake is long."""
    worker.hello["worker_id"] = "w" * (worker.options.mib * MIB)


@at_start
def huge_status(worker):
    """The answer to the first ping is not `ok`, and long."""
    worker.pong["status"] = "s" * (worker.options.mib * MIB)


@at_start
def controls_status(worker):
    """The answer to the first ping is not `ok`, but control characters."""
    worker.pong["status"] = CONTROLS


@at_start
def huge_refusal(worker):
    """It refuses the negotiation with a long text."""
    worker.read_frame()
    text = "r" * (worker.options.mib * MIB)
    worker.write_frame(json.dumps({"type": "protocol_error", "error": text}).encode())
    stay_for_ever()


@at_start
def huge_version(worker):
    """Its version in an answer to a health query is long."""
    worker.health["version"] = "v" * (worker.options.mib * MIB)


# Behaviours of a call: frames.


@on_call
def claims(worker, request):
    """Sends the largest length of a frame, and one byte of it."""
    length = request["args"].get("length", 0xFFFFFFFF)
    worker.write(struct.pack(">I", length) + b"{")
    stay_for_ever()


@on_call
def dribbles(worker, request):
    """Sends a reply byte by byte, and never the whole."""
    worker.write(struct.pack(">I", MIB))
    while True:
        worker.write(b" ")
        time.sleep(0.001)  # the pace of the bytes


@on_call
def never_reads(worker, request):
    """Obeys neither the end of its input nor a signal."""
    stay_for_ever()


@on_call
def never_reads_what_follows(worker, request):
    """Answers, and reads no more."""
    worker.succeed(request, None)
    stay_for_ever()


@on_call
def elements(worker, request):
    """A result of many small elements."""
    args = request["args"]
    json_unit, msgpack_unit = {"maps": (b"{}", b"\x80"), "nulls": (b"0", b"\xc0")}[args["of"]]
    unit = json_unit if worker.codec == "json" else msgpack_unit
    worker.succeed_with(request, unit, args["count"])


@on_call
def late_elements(worker, request):
    """The same result, after the pool has given the call up."""
    while worker.message().get("type") != "cancel":
        pass
    elements(worker, request)


@on_call
def huge_error(worker, request):
    """The error of the call is long."""
    worker.fail(request["id"], "e" * (worker.options.mib * MIB))


waiting = []


@on_call
def huge_error_of_all(worker, request):
    """Sends one long failure that could be any call's, once its capacity is full."""
    waiting.append(request)
    if len(waiting) == worker.options.capacity:
        worker.fail(None, "e" * (worker.options.mib * MIB))


@on_call
def huge_code(worker, request):
    """The code of the error is long, and so is the name of a member."""
    text = "C" * (worker.options.mib * MIB)
    worker.send({"id": request["id"], "success": False, "error": "e", "code": text, text: 1})


@on_call
def huge_type(worker, request):
    """The reply has a `type`, which no reply has, and a long one."""
    worker.send({"id": request["id"], "type": "T" * (worker.options.mib * MIB)})


@on_call
def foreign_ids(worker, request):
    """Answers calls that nobody made, for ever."""
    worker.succeed(request, None)

    def flood():
        number = 1 << 40
        while True:
            number += 1
            worker.succeed({"id": number}, "for nobody")

    threading.Thread(target=flood, daemon=True).start()


# Behaviours of a call: texts.


@on_call
def controls_error(worker, request):
    worker.fail(request["id"], CONTROLS)


@on_call
def controls_result(worker, request):
    worker.succeed(request, {"text": CONTROLS, CONTROLS: 1})


@on_call
def controls_stderr(worker, request):
    os.write(2, CONTROLS.encode() + b"\n")
    os.write(2, b"raw \x9b2J \xff \x00 end\n")
    worker.fail(request["id"], "see stderr")


@on_call
def huge_stderr_line(worker, request):
    """A line that does not end."""
    block = b"l" * MIB
    for _ in range(worker.options.mib):
        view = memoryview(block)
        while view:
            view = view[os.write(2, view) :]
    worker.succeed(request, None)


@on_call
def stderr_flood(worker, request):
    """Writes lines for ever, while it serves on."""
    worker.succeed(request, None)

    def flood():
        block = b"".join(b"line %d of a flood\n" % n for n in range(2000))
        while True:
            os.write(2, block)

    threading.Thread(target=flood, daemon=True).start()


# Behaviours of a call: processes.


def child_that_stays(before=lambda: None):
    """Forks a child that only SIGKILL ends. Returns when `before` has run in the child."""
    read_fd, write_fd = os.pipe()
    child = os.fork()
    if child == 0:
        before()
        os.write(write_fd, b"x")
        os.close(read_fd)
        os.close(write_fd)
        stay_for_ever()
    os.close(write_fd)
    os.read(read_fd, 1)
    os.close(read_fd)
    return child


@on_call
def other_group(worker, request):
    """Moves into the process group of its own child, and hangs."""
    child = child_that_stays(lambda: os.setpgid(0, 0))
    os.setpgid(0, child)
    note("moved", str(os.getpid()))
    stay_for_ever()


def trace_parent():
    os.setsid()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    parent = os.getppid()
    if libc.ptrace(PTRACE_ATTACH, parent, None, None) != 0:
        note("attached", "failed: " + os.strerror(ctypes.get_errno()))
        os._exit(1)
    os.waitpid(parent, 0x40000000)  # __WALL: until it has stopped
    note("attached", str(parent))


@on_call
def traced_by_its_child(worker, request):
    """Is held by a debugger of its own."""
    child_that_stays(trace_parent)
    stay_for_ever()


@on_call
def leaves_children(worker, request):
    """Starts children in groups and sessions of their own, whose parents end."""
    children = [
        child_that_stays(lambda: None),
        child_that_stays(lambda: os.setpgid(0, 0)),
        child_that_stays(os.setsid),
        orphan(),
    ]
    note("children", " ".join(map(str, children)))
    if request["args"].get("die"):
        os._exit(9)
    worker.succeed(request, children)


def orphan():
    """Starts a daemon: in a session of its own, with init as parent, its descriptors closed."""
    read_fd, write_fd = os.pipe()
    middle = os.fork()
    if middle == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(write_fd, b"%d\n" % os.getpid())
            os.closerange(0, 64)
            stay_for_ever()
        os._exit(0)
    os.waitpid(middle, 0)
    os.close(write_fd)
    with os.fdopen(read_fd) as file:
        return int(file.readline())


def parse(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("behaviour")
    parser.add_argument("--transport", choices=["stdio", "grpc"], default="stdio")
    parser.add_argument("--version", type=int, choices=[1, 2], default=2)
    parser.add_argument("--capacity", type=int, default=1)
    parser.add_argument("--mib", type=int, default=1, help="how long a long text is")
    parser.add_argument("--restarted", action="store_true")
    parser.add_argument("--socket")
    parser.add_argument("--port", type=int)
    return parser.parse_args(arguments)


def is_first(worker_id):
    """True in the first process of that worker."""
    try:
        os.close(os.open(os.path.join(FOLDER, "first." + worker_id), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def main():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    options = parse(sys.argv[1:])
    if options.transport == "grpc":
        import hostile_grpc

        return hostile_grpc.main(options)
    worker = Stdio(options)
    behaviour = start_behaviours.get(options.behaviour, no_fault)
    if not options.restarted or not is_first(os.environ["SNAKEPIT_WORKER_ID"]):
        behaviour(worker)
    worker.serve()


if __name__ == "__main__":
    sys.exit(main())
