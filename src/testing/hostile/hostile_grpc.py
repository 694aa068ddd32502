"""The behaviours of hostile_worker.py over gRPC, and those of a peer that is no gRPC server."""

import contextlib
import json
import os
import socket
import sys
import threading
from concurrent import futures

# Read before the SDK, which removes it.
TOKEN = os.environ.get("SNAKEPIT_TOKEN", "")

import grpc  # noqa: E402
import msgpack  # noqa: E402
from snakepit_bridge import snakepit_pb2 as pb  # noqa: E402

from hostile_worker import (  # noqa: E402
    CONTROLS,
    FOLDER,
    MIB,
    is_first,
    note,
    stay_for_ever,
)

SERVICE = "snakepit.SnakepitBridge"
# The test's process takes the ports that the worker names: see intruder_test.py.
INTRUDER = os.environ.get("HOSTILE_INTRUDER", "")

start_behaviours = {}
call_behaviours = {}


def at_start(function):
    start_behaviours[function.__name__.replace("_", "-")] = function
    return function


def on_call(function):
    call_behaviours[function.__name__.replace("_", "-")] = function
    return function


class Service:
    """A good worker of version 2, except for the command `attack`."""

    def __init__(self, options):
        self.options = options
        self.server = None
        self.version = "1"
        self.attack = call_behaviours.get(options.behaviour)

    def health(self, request, context):
        return pb.HealthResponse(healthy=True, worker_id="hostile", version=self.version)

    def get_info(self, request, context):
        return pb.InfoResponse(
            worker_type="hostile",
            supported_commands=["ping"],
            protocol_version=self.options.version if self.options.version > 1 else 0,
            capacity=self.options.capacity,
        )

    def execute(self, request, context):
        if request.command == "attack":
            return self.attack(self, request, context)
        if request.command == "die":
            os._exit(9)
        result = {"echo": msgpack.unpackb(request.typed_args), "pid": os.getpid()}
        return pb.ExecuteResponse(
            success=True,
            request_id=request.request_id,
            typed_result=msgpack.packb(result[request.command]),
        )

    def handlers(self):
        unary = grpc.unary_unary_rpc_method_handler
        reply = lambda message: message.SerializeToString()  # noqa: E731
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Health": unary(self.health, pb.HealthRequest.FromString, reply),
                "GetInfo": unary(self.get_info, pb.InfoRequest.FromString, reply),
                "Execute": unary(self.execute, pb.ExecuteRequest.FromString, reply),
            },
        )


def address(options):
    return f"unix:{options.socket}" if options.socket else f"127.0.0.1:{options.port or 0}"


def serve(service, options, *settings):
    """Serves for ever, and announces the address if the pool did not choose it."""
    threads = futures.ThreadPoolExecutor(options.capacity + 4)
    settings = [("grpc.max_send_message_length", -1), *settings]
    service.server = grpc.server(threads, options=settings)
    service.server.add_generic_rpc_handlers((service.handlers(),))
    port = service.server.add_insecure_port(address(options))
    service.server.start()
    if not options.socket and not options.port:
        print(f"GRPC_READY:{port}", flush=True)
    service.server.wait_for_termination()
    stay_for_ever()


def listen(options):
    """A bare listening socket at the address."""
    if options.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(options.socket)
    else:
        listener = socket.socket(socket.AF_INET)
        listener.bind(("127.0.0.1", options.port or 0))
    listener.listen(64)
    if not options.socket and not options.port:
        print(f"GRPC_READY:{listener.getsockname()[1]}", flush=True)
    return listener


# Behaviours at the start: announcements.


@at_start
def long_ready_line(options):
    """A path that no socket can have."""
    print("GRPC_READY:/" + "a" * 200, flush=True)
    stay_for_ever()


@at_start
def longer_ready_line(options):
    """The same, with more bytes than a line should have."""
    print("GRPC_READY:/" + "a" * MIB, flush=True)
    stay_for_ever()


@at_start
def ready_lines_without_end(options):
    while True:
        os.write(1, b"GRPC_READY:/nowhere/at/all\nfree text\n" * 1000)


@at_start
def foreign_socket(options):
    """The socket of another process of the same user."""
    print("GRPC_READY:" + os.path.join(FOLDER, "foreign.sock"), flush=True)
    stay_for_ever()


@at_start
def foreign_port(options):
    """The port of another process of the same user."""
    with open(os.path.join(FOLDER, "foreign.port"), encoding="ascii") as file:
        print("GRPC_READY:" + file.read(), flush=True)
    stay_for_ever()


@at_start
def ready_file_fifo(options):
    os.mkfifo(os.environ["SNAKEPIT_READY_FILE"])
    note("planted", "fifo")
    stay_for_ever()


@at_start
def ready_file_device(options):
    os.symlink("/dev/zero", os.environ["SNAKEPIT_READY_FILE"])
    note("planted", "device")
    stay_for_ever()


@at_start
def ready_file_link(options):
    """Links to a file that the worker may not name, which has the port of a good server."""
    os.symlink(os.path.join(FOLDER, "foreign.port"), os.environ["SNAKEPIT_READY_FILE"])
    note("planted", "link")
    stay_for_ever()


@at_start
def ready_file_folder(options):
    os.mkdir(os.environ["SNAKEPIT_READY_FILE"])
    note("planted", "folder")
    stay_for_ever()


@at_start
def ready_file_large(options):
    """Digits without end."""
    with open(os.environ["SNAKEPIT_READY_FILE"], "wb") as file:
        for _ in range(options.mib):
            file.write(b"1" * MIB)
    note("planted", "large")
    stay_for_ever()


# Behaviours at the start: peers that are no gRPC server.


def banner(options, text):
    """Sends the same bytes to every client."""
    connections = []
    listener = listen(options)
    while True:
        connection = listener.accept()[0]
        with contextlib.suppress(OSError):
            connection.sendall(text)
        connections.append(connection)  # stays open


@at_start
def http1_server(options):
    """Answers like a web server of HTTP/1.1."""
    listener = listen(options)
    while True:
        connection = listener.accept()[0]
        with contextlib.suppress(OSError):
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nServer: old\r\nContent-Length: 0\r\n\r\n")
        connection.close()


@at_start
def ssh_banner(options):
    banner(options, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")


@at_start
def controls_banner(options):
    banner(options, CONTROLS.encode())


@at_start
def silent_peer(options):
    banner(options, b"")


# Behaviours at the start: intruders, which learn the port from the worker.


def let_intruder_take(port):
    """Waits until the intruder listens on the port."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(INTRUDER)
        connection.sendall(b"%d\n" % port)
        assert connection.recv(16) == b"taken"


@at_start
def port_taken(options):
    """An intruder has the port before this worker binds it."""
    let_intruder_take(options.port)
    stay_for_ever()


@at_start
def port_shared(options):
    """An intruder listens on the same port."""
    serving = Service(options)
    threading.Thread(target=serve, args=(serving, options), daemon=True).start()
    while True:  # until this worker listens
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", options.port)) == 0:
                break
    let_intruder_take(options.port)
    stay_for_ever()


@at_start
def connections_grow_old(options):
    """Ends each connection after a while, in order, so that a client connects anew."""
    service = Service(options)
    service.attack = shares_port
    age = ("grpc.max_connection_age_ms", 300), ("grpc.max_connection_age_grace_ms", 100)
    serve(service, options, *age)


def shares_port(service, request, context):
    let_intruder_take(service.options.port)
    return pb.ExecuteResponse(success=True, typed_result=b"\xc0")


@on_call
def gives_port_away(service, request, context):
    """Stops serving, and an intruder takes its port."""

    def give():
        service.server.stop(None)  # without waiting for the pool's calls
        let_intruder_take(service.options.port)
        note("given", "away")

    threading.Thread(target=give, daemon=True).start()
    stay = threading.Event()
    context.add_callback(stay.set)
    stay.wait()
    return pb.ExecuteResponse()


# Behaviours of a call.


def failure(request, error):
    return pb.ExecuteResponse(
        success=False, request_id=request.request_id, error=error, code="HANDLER_FAILED"
    )


@on_call
def controls_error(service, request, context):
    return failure(request, CONTROLS)


@on_call
def controls_status(service, request, context):
    """gRPC keeps the line breaks of a status text."""
    context.abort(grpc.StatusCode.INTERNAL, CONTROLS)


@on_call
def long_status(service, request, context):
    """A status as long as gRPC at the pool accepts, which is not long."""
    context.abort(grpc.StatusCode.INTERNAL, "t" * (200 << 10))


@on_call
def huge_error(service, request, context):
    return failure(request, "e" * (service.options.mib * MIB))


@at_start
def huge_version(options):
    """Its version in an answer to a health query is long."""
    service = Service(options)
    service.version = "v" * (options.mib * MIB)
    serve(service, options)


@on_call
def elements(service, request, context):
    """A result of many small elements."""
    args = msgpack.unpackb(request.typed_args)
    unit = {"maps": b"\x80", "nulls": b"\xc0"}[args["of"]]
    data = b"\xdd" + args["count"].to_bytes(4, "big") + unit * args["count"]
    return pb.ExecuteResponse(success=True, request_id=request.request_id, typed_result=data)


@on_call
def tells_its_token(service, request, context):
    """Reveals its token wherever it can."""
    return failure(request, f"my token is {tell_token()}, and it fails")


@on_call
def tells_its_token_in_a_status(service, request, context):
    context.abort(grpc.StatusCode.INTERNAL, f"my token is {tell_token()}, and it fails")


@at_start
def tells_its_token_and_ends(options):
    tell_token()
    sys.exit(3)


def tell_token():
    """The token, which it also writes to stderr, stdout and a file of the test."""
    note("token", TOKEN)
    for file in (sys.stderr, sys.stdout):
        print(f"token {TOKEN}", file=file)
        print(json.dumps({"environment": {"SNAKEPIT_TOKEN": TOKEN}}), file=file, flush=True)
    return TOKEN


def main(options):
    behaviour = start_behaviours.get(options.behaviour)
    if behaviour and (not options.restarted or not is_first(os.environ["SNAKEPIT_WORKER_ID"])):
        behaviour(options)
    serve(Service(options), options)
