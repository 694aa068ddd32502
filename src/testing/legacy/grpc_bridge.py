"""The legacy gRPC worker.

Start: python3 grpc_bridge.py --port N [--ready none|line|old-line|early-line|file]

Those in the field listen on all interfaces; this one keeps to the loopback unless
--host says otherwise, so that tests open nothing to the network.
"""

import argparse
import json
import os
import signal
import sys
import time
from concurrent import futures

_HERE = os.path.dirname(os.path.abspath(__file__))
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(_HERE)))
sys.path.insert(0, _HERE)
# snakepit_pb2: Bazel's generated file or, in a source tree, the copy of the Python SDK.
sys.path.append(os.path.join(_ROOT, "proto"))
sys.path.append(os.path.join(_ROOT, "python", "snakepit_bridge"))

import legacy_stdio  # noqa: E402

SERVICE = "snakepit.SnakepitBridge"
HANDLER_THREADS = 4
DRAIN_SECONDS = 5


def decode_value(data):
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return data
    try:
        return json.loads(text)
    except ValueError:
        return text


def encode_value(value):
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8")
    return json.dumps(value).encode("utf-8")


def encode_map(result):
    if not isinstance(result, dict):
        result = {"result": result}
    return {key: encode_value(value) for key, value in result.items()}


# Each stream yields (item, True if it is the last).


def ping_stream(args):
    count = args.get("count", 5)
    for number in range(1, count + 1):
        if number > 1:
            time.sleep(args.get("interval", 1.0))
        yield number == count, {
            "ping_number": number,
            "timestamp": time.time(),
            "message": f"Ping {number} of {count}",
        }


def batch_inference(args):
    items = args.get("batch_items", ["item1", "item2", "item3"])
    for number, item in enumerate(items, start=1):
        yield number == len(items), {
            "item": item,
            "prediction": f"prediction_{number}",
            "confidence": 0.95,
            "processed_at": time.time(),
        }


def process_large_dataset(args):
    total_rows = args.get("total_rows", 1000)
    chunk_size = args.get("chunk_size", 100)
    for number, start in enumerate(range(0, total_rows, chunk_size), start=1):
        processed = min(start + chunk_size, total_rows)
        yield processed == total_rows, {
            "processed_rows": processed,
            "total_rows": total_rows,
            "progress_percent": processed / total_rows * 100,
            "chunk_number": number,
            "chunk_size": processed - start,
        }


def tail_and_analyze(args):
    severities = ["INFO", "WARN", "ERROR", "INFO", "INFO"]
    for number, severity in enumerate(severities, start=1):
        yield number == len(severities), {
            "log_entry": f"Sample log entry {number}",
            "severity": severity,
            "timestamp": time.time(),
            "entry_number": number,
        }


STREAMS = {
    "ping_stream": ping_stream,
    "batch_inference": batch_inference,
    "process_large_dataset": process_large_dataset,
    "tail_and_analyze": tail_and_analyze,
}


class Service:
    """The six methods, with errors in-band and `timeout_ms` ignored."""

    def __init__(self, pb2):
        self.pb2 = pb2
        self.commands = legacy_stdio.Commands(version="1.0.0")
        self.errors = 0

    def execute(self, request, context):
        reply = self.pb2.ExecuteResponse(
            timestamp=time.time_ns(), request_id=request.request_id
        )
        try:
            result = encode_map(self.run(request))
        except Exception as error:
            self.errors += 1
            reply.error = str(error)
            return reply
        reply.success = True
        for key, value in result.items():
            reply.result[key] = value
        return reply

    def run(self, request):
        args = {key: decode_value(data) for key, data in request.args.items()}
        return self.commands.run(request.command, args)

    def execute_stream(self, request, context):
        """An empty stream has no final chunk, and an error chunk always has index 0."""
        try:
            if request.command not in STREAMS:
                yield self.chunk(request, encode_map(self.run(request)), 0, True)
                return
            self.commands.requests += 1
            args = {key: decode_value(data) for key, data in request.args.items()}
            stream = STREAMS[request.command](args)
            for index, (final, item) in enumerate(stream):
                yield self.chunk(request, encode_map(item), index, final)
        except Exception as error:
            self.errors += 1
            reply = self.chunk(request, {}, 0, True)
            reply.error = str(error)
            yield reply

    def chunk(self, request, values, index, final):
        reply = self.pb2.StreamResponse(
            is_final=final,
            timestamp=time.time_ns(),
            request_id=request.request_id,
            chunk_index=index,
        )
        for key, value in values.items():
            reply.chunk[key] = value
        return reply

    def uptime_ms(self):
        return int((time.time() - self.commands.started) * 1000)

    def health(self, request, context):
        return self.pb2.HealthResponse(
            healthy=True,
            worker_id=request.worker_id,
            uptime_ms=self.uptime_ms(),
            total_requests=self.commands.requests,
            total_errors=self.errors,
            version=self.commands.version,
        )

    def get_info(self, request, context):
        reply = self.pb2.InfoResponse(
            worker_type="grpc-python",
            version=self.commands.version,
            supported_commands=[*self.commands.handlers, *STREAMS],
            system_info={"platform": sys.platform},
        )
        if request.include_capabilities:
            reply.capabilities["streaming"] = "true"
        if request.include_stats:
            reply.stats.requests_handled = self.commands.requests
            reply.stats.requests_failed = self.errors
            reply.stats.uptime_ms = self.uptime_ms()
        return reply


def start_server(address):
    """Starts the server: it, and its port."""
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

    service = Service(pb2)
    methods = {
        "Execute": unary(service.execute, pb2.ExecuteRequest),
        "ExecuteStream": stream(service.execute_stream, pb2.ExecuteRequest),
        "ExecuteInSession": unary(service.execute, pb2.SessionRequest),
        "ExecuteInSessionStream": stream(service.execute_stream, pb2.SessionRequest),
        "Health": unary(service.health, pb2.HealthRequest),
        "GetInfo": unary(service.get_info, pb2.InfoRequest),
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=HANDLER_THREADS))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(SERVICE, methods)]
    )
    port = server.add_insecure_port(address)
    server.start()
    return server, port


def announce(how, port):
    if how == "line":
        print(f"GRPC_READY:{port}", flush=True)
    elif how == "old-line":
        print(f"GRPC_SERVER_READY_ON_PORT={port}", flush=True)
    elif how == "file":
        # open() makes the file empty first, so a reader may find it without the port.
        with open(os.environ["SNAKEPIT_READY_FILE"], "w") as file:
            file.write(str(port))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--ready",
        choices=["none", "line", "old-line", "early-line", "file"],
        default="none",
    )
    options = parser.parse_args()
    # Blocked in all threads, and waited for: a handler would not run if the signal came to one of
    # gRPC's threads while this one waits.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    if options.ready == "early-line":  # Long before the server serves.
        announce("line", options.port)
    server, port = start_server(f"{options.host}:{options.port}")
    announce(options.ready, port)
    signal.sigwait({signal.SIGTERM})
    # The interpreter's exit waits for handlers that are busy after the drain.
    server.stop(DRAIN_SECONDS).wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
