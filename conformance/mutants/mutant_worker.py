"""A worker with one switchable bug, each of which the judge has to find.

Start: python3 mutant_worker.py --bug NAME --transport stdio|grpc [--socket PATH]

With the bug `none` it passes every case. It is made of frames and messages alone, since
the SDK does not let a worker have most of these bugs. On stdio it speaks JSON.
"""

import argparse
import json
import os
import signal
import struct
import sys
import threading
import time

SERVICE = "snakepit.SnakepitBridge"
REFUSED_START_EXIT_CODE = 3

BUGS = {
    "none": "",
    "wrong-echo": "ping echoes other arguments than it got",
    "no-status": "ping has no status, once the worker is ready",
    "exits-after-100": "the worker ends after a hundred calls",
    "unknown-is-success": "an unknown command succeeds with an empty result",
    "unknown-is-a-failure": "an unknown command fails like any other",
    "exits-at-unknown": "an unknown command ends the worker",
    "swaps-chunks": "the second and the third chunk change places",
    "drops-a-chunk": "of a long stream, a chunk is never sent",
    "empty-has-a-chunk": "a stream of nothing has a chunk",
    "early-final": "the last chunk but one is final",
    "collects-chunks": "the chunks are sent when all are there",
    "unary-gives-no-chunk": "a command that does not stream gives no chunk",
    "exits-after-stream": "the call after a stream ends the worker",
    "starts-once": "a worker that is replaced does not start again",
    "starts-five-times": "a worker starts five times and not again",
}


class Failure(Exception):
    """A call that fails."""


class Commands:
    """ping and ping_stream, with the bug."""

    def __init__(self, bug):
        self.bug = bug
        self.calls = 0
        self.has_streamed = False

    def run(self, command, args):
        """The result of a command that does not stream."""
        self.begin()
        if command == "ping":
            return self.ping(args)
        if self.bug == "unknown-is-success":
            return {}
        if self.bug == "unknown-is-a-failure":
            raise Failure(f"there is no {command}")
        if self.bug == "exits-at-unknown":
            os._exit(0)
        raise Failure(f"Unknown command: {command}")

    def begin(self):
        self.calls += 1
        if self.bug == "exits-after-100" and self.calls > 100:
            os._exit(0)
        if self.bug == "exits-after-stream" and self.has_streamed:
            os._exit(0)

    def ping(self, args):
        result = {"status": "ok", "echo": args}
        if self.bug == "wrong-echo":
            result["echo"] = {**args, "number": 0}
        if self.bug == "no-status" and "initialization" not in args:
            del result["status"]
        return result

    def stream(self, command, args):
        """The chunks of a streaming call, each with whether it is final.

        The chunk None is no chunk, but the end of the stream.
        """
        if command != "ping_stream":
            result = self.run(command, args)
            yield None if self.bug == "unary-gives-no-chunk" else result, True
            return
        self.begin()
        self.has_streamed = True
        messages = self.ping_stream(args)
        yield from list(messages) if self.bug == "collects-chunks" else messages

    def ping_stream(self, args):
        count = args.get("count", 5)
        numbers = list(range(1, count + 1))
        if self.bug == "swaps-chunks" and count > 3:
            numbers[1], numbers[2] = numbers[2], numbers[1]
        if self.bug == "drops-a-chunk" and count > 10:
            del numbers[5]
        if self.bug == "empty-has-a-chunk" and count == 0:
            numbers = [1]
        if not numbers:
            yield None, True
        last = len(numbers) - (2 if self.bug == "early-final" else 1)
        for place, number in enumerate(numbers):
            if place > 0:
                time.sleep(args.get("interval", 1.0))
            chunk = {"ping_number": number, "message": f"Ping {number} of {count}"}
            yield chunk, place == max(last, 0)


# stdio. PROTOCOL.md 2, 3 and 6.


def read_exactly(size):
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            sys.exit(0)
        data += part
    return data


def read_message():
    (size,) = struct.unpack(">I", read_exactly(4))
    return json.loads(read_exactly(size))


def write_message(message):
    payload = json.dumps(message).encode()
    data = struct.pack(">I", len(payload)) + payload
    while data:
        data = data[os.write(1, data) :]


def answer_negotiation(message):
    if "json" not in message["supported"]:
        write_message({"type": "protocol_error", "error": "this worker has json alone"})
        sys.exit(1)
    features = [f for f in message.get("features", []) if f in ("stream", "session")]
    write_message(
        {
            "type": "protocol_selected",
            "protocol": "json",
            "version": 2,
            "features": features,
        }
    )


def answer_stream(commands, request):
    reply = {"id": request["id"], "type": "chunk"}
    index = 0
    try:
        for chunk, final in commands.stream(request["command"], request["args"]):
            message = {**reply, "index": index, "final": final}
            if chunk is not None:
                message["chunk"] = chunk
            write_message(message)
            index += 1
    except Failure as failure:
        write_message(
            {
                **reply,
                "index": index,
                "final": True,
                "success": False,
                **error_of(failure),
            }
        )


def error_of(failure):
    is_unknown = str(failure).startswith("Unknown command")
    code = "UNIMPLEMENTED" if is_unknown else "HANDLER_FAILED"
    return {"error": str(failure), "code": code}


def serve_stdio(commands):
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    while True:
        request = read_message()
        if request.get("type") == "protocol_negotiation":
            answer_negotiation(request)
        elif request.get("stream"):
            answer_stream(commands, request)
        else:
            try:
                result = commands.run(request["command"], request["args"])
                reply = {"success": True, "result": result}
            except Failure as failure:
                reply = {"success": False, **error_of(failure)}
            write_message({"id": request["id"], **reply})


# gRPC. PROTOCOL.md 4.


def encode_map(values):
    return {
        key: value.encode() if isinstance(value, str) else json.dumps(value).encode()
        for key, value in values.items()
    }


def decode_map(values):
    return {key: json.loads(data) for key, data in values.items()}


class Service:
    """The six methods."""

    def __init__(self, commands, pb2):
        self.commands = commands
        self.pb2 = pb2

    def execute(self, request, context):
        reply = self.pb2.ExecuteResponse(request_id=request.request_id)
        try:
            result = self.commands.run(request.command, decode_map(request.args))
        except Failure as failure:
            reply.error = str(failure)
            return reply
        reply.success = True
        for key, data in encode_map(result).items():
            reply.result[key] = data
        return reply

    def execute_stream(self, request, context):
        index = 0
        try:
            args = decode_map(request.args)
            for chunk, final in self.commands.stream(request.command, args):
                reply = self.reply(request, index, final)
                for key, data in encode_map(chunk or {}).items():
                    reply.chunk[key] = data
                yield reply
                index += 1
        except Failure as failure:
            reply = self.reply(request, index, True)
            reply.error = str(failure)
            yield reply

    def reply(self, request, index, final):
        return self.pb2.StreamResponse(
            is_final=final, request_id=request.request_id, chunk_index=index
        )

    def health(self, request, context):
        return self.pb2.HealthResponse(healthy=True)

    def get_info(self, request, context):
        return self.pb2.InfoResponse(supported_commands=["ping", "ping_stream"])


def serve_grpc(commands, socket):
    # In the source tree, and in Bazel's, where the generated file is a runfile.
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path[1:1] = [
        os.path.join(root, "proto"),
        os.path.join(root, "python", "snakepit_bridge"),
    ]
    from concurrent import futures

    import grpc
    import snakepit_pb2 as pb2

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
    service = Service(commands, pb2)
    methods = {
        "Execute": unary(service.execute, pb2.ExecuteRequest),
        "ExecuteStream": stream(service.execute_stream, pb2.ExecuteRequest),
        "ExecuteInSession": unary(service.execute, pb2.SessionRequest),
        "ExecuteInSessionStream": stream(service.execute_stream, pb2.SessionRequest),
        "Health": unary(service.health, pb2.HealthRequest),
        "GetInfo": unary(service.get_info, pb2.InfoRequest),
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(SERVICE, methods)]
    )
    server.add_insecure_port("unix:" + socket)
    server.start()
    stop.wait()
    server.stop(1).wait()
    os._exit(0)


def refuse_start_after(starts):
    """Ends a process that is one too many of its worker, in this case of the judge."""
    name = "mutant-%s-%s" % (
        os.environ.get("SNAKEPIT_CONFORMANCE_CASE", "case"),
        os.environ.get("SNAKEPIT_WORKER_ID", "0"),
    )
    with open(os.path.join(os.environ.get("TMPDIR", "/tmp"), name), "ab") as file:
        file.write(b".")
        file.flush()
        if file.tell() > starts:
            print("this worker does not start again", file=sys.stderr)
            sys.exit(REFUSED_START_EXIT_CODE)


def main():
    parser = argparse.ArgumentParser(description="A worker with one bug.")
    parser.add_argument("--bug", choices=BUGS, required=True)
    parser.add_argument("--transport", choices=["stdio", "grpc"], default="stdio")
    parser.add_argument("--socket", help="of gRPC: where to listen")
    options = parser.parse_args()
    if options.transport == "grpc" and not options.socket:
        parser.error("--transport grpc needs --socket")
    if options.bug == "starts-once":
        refuse_start_after(1)
    if options.bug == "starts-five-times":
        refuse_start_after(5)
    commands = Commands(options.bug)
    if options.transport == "grpc":
        serve_grpc(commands, options.socket)
    else:
        serve_stdio(commands)


if __name__ == "__main__":
    main()
