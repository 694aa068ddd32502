"""Serves the mutant worker over gRPC. PROTOCOL.md 4 and 6.11."""

import json
import os
import signal
import sys
import threading
from concurrent import futures

import grpc
import msgpack

from mutant_commands import (
    CAPACITY,
    COMMANDS,
    Call,
    Failure,
    agreed_features,
    version,
)

# The generated file is elsewhere in Bazel's runfiles than in the source tree.
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[1:1] = [
    os.path.join(ROOT, "proto"),
    os.path.join(ROOT, "python", "snakepit_bridge"),
]
import snakepit_pb2 as pb2  # noqa: E402

SERVICE = "snakepit.SnakepitBridge"


class Service:
    """The six methods."""

    def __init__(self, commands):
        self.commands = commands
        self.token = os.environ.get("SNAKEPIT_TOKEN", "")
        self.lock = threading.Lock()
        self.active = {}  # request_id -> Call

    def is_known(self, context, method):
        """True if the caller has the token, or needs none."""
        bug = self.commands.bug
        if bug == "asks-no-token":
            return True
        if bug == "health-asks-no-token" and method in ("Health", "GetInfo"):
            return True
        given = dict(context.invocation_metadata()).get("snakepit-token")
        if bug == "takes-part-of-token" and given is not None:
            return given in self.token
        return given == self.token

    def check_token(self, context, method):
        if not self.is_known(context, method):
            text = "the token is missing or wrong"
            if self.commands.bug == "refusal-tells-token":
                text += f": it is {self.token}"
            context.abort(grpc.StatusCode.UNAUTHENTICATED, text)

    def begin(self, request, context):
        call = Call(
            self.commands.bug,
            request.command,
            self.args_of(request),
            getattr(request, "session_id", ""),
            request.timeout_ms,
        )
        with self.lock:
            self.active[request.request_id] = call
        if not context.add_callback(call.cancel):
            call.cancel()
        return call

    def args_of(self, request):
        if version(self.commands.bug) == 1:
            return {name: json.loads(value) for name, value in request.args.items()}
        return msgpack.unpackb(request.typed_args or b"\x80", raw=False)

    def packed(self, value, members):
        """The bytes of a result or chunk in version 2. For version 1 it goes into `members`."""
        if version(self.commands.bug) == 2:
            return msgpack.packb(value)
        for name, member in value.items():
            members[name] = json.dumps(member).encode()
        return b""

    def end(self, request, call, succeeded):
        self.commands.count(succeeded)
        stays = self.commands.bug == "never-ends-cancelled" and call.is_cancelled
        with self.lock:
            if not stays:
                self.active.pop(request.request_id, None)

    def execute(self, request, context):
        is_late = self.commands.bug == "runs-and-then-refuses"
        if not is_late:
            self.check_token(context, "Execute")
        reply = pb2.ExecuteResponse(request_id=request.request_id)
        if getattr(request, "end_session", False):
            self.commands.end_session(request.session_id)
            reply.success = True
            return reply
        call = self.begin(request, context)
        try:
            reply.typed_result = self.packed(self.commands.run(call), reply.result)
            reply.success = True
        except Failure as failure:
            fill_in(reply, failure)
        except TypeError as error:
            fill_in(reply, Failure("HANDLER_FAILED", str(error)))
        self.end(request, call, reply.success)
        if is_late:
            self.check_token(context, "Execute")
        return reply

    def execute_stream(self, request, context):
        self.check_token(context, "ExecuteStream")
        call = self.begin(request, context)
        index = 0
        succeeded = False
        told = True
        try:
            for chunk, final in self.commands.stream(call):
                reply = self.reply(request, index, final)
                if chunk is not None:
                    reply.typed_chunk = self.packed(chunk, reply.chunk)
                # The handler sees no cancellation then, but gRPC asks for no more of its chunks.
                told = call.tells_handler
                yield reply
                told = True
                index += 1
            succeeded = True
        except (Failure, TypeError) as error:
            if isinstance(error, TypeError):
                error = Failure("HANDLER_FAILED", str(error))
            reply = self.reply(request, index, True)
            fill_in(reply, error)
            yield reply
        finally:
            if told:
                self.end(request, call, succeeded)

    def reply(self, request, index, final):
        return pb2.StreamResponse(
            is_final=final, request_id=request.request_id, chunk_index=index
        )

    def health(self, request, context):
        self.check_token(context, "Health")
        health = self.commands.health()
        health.pop("calls_in_flight", None)
        with self.lock:
            active = list(self.active)
        if self.commands.bug == "one-at-a-time":
            active = active[: self.commands.handlers]
        return pb2.HealthResponse(active_request_ids=active, **health)

    def get_info(self, request, context):
        self.check_token(context, "GetInfo")
        info = pb2.InfoResponse(supported_commands=COMMANDS)
        if version(self.commands.bug) == 2:
            info.protocol_version = 2
            info.features.extend(agreed_features(self.commands.bug, request.features))
            info.capacity = CAPACITY
        return info


def fill_in(reply, failure):
    reply.error = failure.text
    reply.code = failure.code
    reply.did_not_run = failure.did_not_run


def serve(commands, socket):
    """Serves until SIGTERM."""

    def unary(function, request):
        return grpc.unary_unary_rpc_method_handler(
            function, request.FromString, lambda reply: reply.SerializeToString()
        )

    def stream(function, request):
        return grpc.unary_stream_rpc_method_handler(
            function, request.FromString, lambda reply: reply.SerializeToString()
        )

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    service = Service(commands)
    methods = {
        "Execute": unary(service.execute, pb2.ExecuteRequest),
        "ExecuteStream": stream(service.execute_stream, pb2.ExecuteRequest),
        "ExecuteInSession": unary(service.execute, pb2.SessionRequest),
        "ExecuteInSessionStream": stream(service.execute_stream, pb2.SessionRequest),
        "Health": unary(service.health, pb2.HealthRequest),
        "GetInfo": unary(service.get_info, pb2.InfoRequest),
    }
    # Threads for Health, beside those of the calls.
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4 * CAPACITY))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(SERVICE, methods)]
    )
    server.add_insecure_port("unix:" + socket)
    server.start()
    stop.wait()
    server.stop(1).wait()
    os._exit(0)
