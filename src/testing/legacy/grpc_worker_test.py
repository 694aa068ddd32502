"""The legacy gRPC worker over a bare channel: each case is a fact about the field."""

import json
import os
import signal
import socket
import sys
import tempfile
import unittest

_HERE = os.path.dirname(os.path.abspath(__file__))
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(_HERE)))
sys.path.insert(0, _HERE)
sys.path.insert(0, os.path.join(_ROOT, "proto"))

import grpc  # noqa: E402
import snakepit_pb2 as pb2  # noqa: E402

from raw_worker import Worker  # noqa: E402

SERVICE = "/snakepit.SnakepitBridge/"
LIMIT_SECONDS = 30


class Client:
    def __init__(self, port):
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.channel.close()

    def unary(self, method, request, reply_type):
        call = self.channel.unary_unary(
            SERVICE + method, lambda r: r.SerializeToString(), reply_type.FromString
        )
        return call(request, timeout=LIMIT_SECONDS, wait_for_ready=True)

    def execute(self, command, **args):
        request = pb2.ExecuteRequest(command=command, args=args, request_id="r1")
        return self.unary("Execute", request, pb2.ExecuteResponse)

    def stream(self, command, **args):
        call = self.channel.unary_stream(
            SERVICE + "ExecuteStream",
            lambda r: r.SerializeToString(),
            pb2.StreamResponse.FromString,
        )
        request = pb2.ExecuteRequest(command=command, args=args, request_id="r1")
        return call(request, timeout=LIMIT_SECONDS, wait_for_ready=True)


class GrpcWorker(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.worker = Worker("grpc_bridge.py", "--port", "0", "--ready", "line")
        line = cls.worker.process.stdout.readline()
        cls.port = int(line.decode().removeprefix("GRPC_READY:"))
        cls.client = Client(cls.port)

    @classmethod
    def tearDownClass(cls):
        cls.client.channel.close()
        cls.worker.__exit__()

    def test_ping_and_info(self):
        reply = self.client.execute("ping")
        self.assertTrue(reply.success)
        self.assertEqual(reply.result["status"], b"ok")
        self.assertEqual(reply.request_id, "r1")
        self.assertGreater(reply.timestamp, 10**18)
        self.assertTrue(self.client.execute("info").success)

    def test_values_into_the_worker(self):
        # The JSON text that echo returns shows the worker's view of each value.
        reply = self.client.execute(
            "echo", i=b"1", quoted=b'"abc"', text=b"abc", null=b"null"
        )
        self.assertEqual(
            json.loads(reply.result["echoed"]),
            {"i": 1, "quoted": "abc", "text": "abc", "null": None},
        )

    def test_compute_gives_json(self):
        reply = self.client.execute("compute", operation=b"add", a=b"2", b=b"3")
        self.assertEqual(reply.result["result"], b"5")

    def test_failures_of_a_command_are_reported_as_success(self):
        reply = self.client.execute("no_such_command")
        self.assertTrue(reply.success)
        self.assertEqual(reply.result["status"], b"error")
        self.assertEqual(reply.result["error"], b"Unknown command: no_such_command")

    def test_a_result_that_cannot_be_encoded_is_an_in_band_error(self):
        reply = self.client.execute("echo", raw=b"\xff")
        self.assertFalse(reply.success)
        self.assertIn("bytes", reply.error)

    def test_sessions_are_accepted(self):
        request = pb2.SessionRequest(session_id="s", command="ping", request_id="r2")
        reply = self.client.unary("ExecuteInSession", request, pb2.ExecuteResponse)
        self.assertTrue(reply.success)
        self.assertEqual(reply.request_id, "r2")

    def test_health_and_get_info(self):
        request = pb2.HealthRequest(worker_id="w1")
        health = self.client.unary("Health", request, pb2.HealthResponse)
        self.assertTrue(health.healthy)
        self.assertEqual(health.worker_id, "w1")
        request = pb2.InfoRequest(include_capabilities=True, include_stats=True)
        info = self.client.unary("GetInfo", request, pb2.InfoResponse)
        self.assertIn("ping_stream", info.supported_commands)
        self.assertGreater(info.stats.uptime_ms, 0)

    def test_the_last_data_chunk_is_final(self):
        chunks = [*self.client.stream("ping_stream", count=b"3", interval=b"0")]
        self.assertEqual([chunk.chunk_index for chunk in chunks], [0, 1, 2])
        self.assertEqual([chunk.is_final for chunk in chunks], [False, False, True])
        self.assertEqual(chunks[1].chunk["message"], b"Ping 2 of 3")
        self.assertEqual(chunks[1].chunk["ping_number"], b"2")

    def test_a_chunk_is_sent_before_the_end_of_the_stream(self):
        stream = self.client.stream("ping_stream", count=b"2", interval=b"3600")
        self.assertFalse(next(stream).is_final)
        stream.cancel()

    def test_the_other_streams(self):
        chunks = [*self.client.stream("batch_inference", batch_items=b'["a", "b"]')]
        self.assertEqual([chunk.chunk["item"] for chunk in chunks], [b"a", b"b"])
        self.assertLessEqual(
            {"prediction", "confidence", "processed_at"}, set(chunks[0].chunk)
        )
        args = {"total_rows": b"25", "chunk_size": b"10"}
        chunks = [*self.client.stream("process_large_dataset", **args)]
        rows = [chunk.chunk["processed_rows"] for chunk in chunks]
        self.assertEqual(rows, [b"10", b"20", b"25"])
        self.assertEqual(chunks[2].chunk["progress_percent"], b"100.0")
        self.assertEqual(chunks[2].chunk["chunk_number"], b"3")
        chunks = [*self.client.stream("tail_and_analyze")]
        self.assertLessEqual(
            {"log_entry", "severity", "timestamp", "entry_number"}, set(chunks[0].chunk)
        )

    def test_a_stream_of_nothing_has_no_final_chunk(self):
        self.assertEqual([*self.client.stream("ping_stream", count=b"0")], [])

    def test_an_error_chunk_has_index_0_whatever_came_before(self):
        chunks = [*self.client.stream("ping_stream", count=b"5", interval=b"later")]
        self.assertEqual([chunk.chunk_index for chunk in chunks], [0, 0])
        self.assertEqual([chunk.is_final for chunk in chunks], [False, True])
        self.assertEqual(chunks[0].error, "")
        self.assertNotEqual(chunks[1].error, "")

    def test_any_other_command_gives_one_final_chunk(self):
        chunks = [*self.client.stream("compute", operation=b"add", a=b"1", b=b"1")]
        self.assertEqual(len(chunks), 1)
        self.assertTrue(chunks[0].is_final)
        self.assertEqual(chunks[0].chunk["result"], b"2")

    def test_a_message_over_4_mib_is_resource_exhausted(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.client.execute("echo", text=b"x" * (5 << 20))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Readiness(unittest.TestCase):
    def expect_ready(self, port):
        with Client(port) as client:
            health = client.unary("Health", pb2.HealthRequest(), pb2.HealthResponse)
            self.assertTrue(health.healthy)

    def test_none_says_nothing_and_sigterm_ends_with_0(self):
        port = free_port()
        with Worker("grpc_bridge.py", "--port", str(port)) as worker:
            self.expect_ready(port)
            worker.terminate()
            self.assertEqual((worker.rest(), worker.wait()), (b"", 0))

    def test_the_older_line(self):
        with Worker("grpc_bridge.py", "--port", "0", "--ready", "old-line") as worker:
            line = worker.process.stdout.readline().decode()
            self.assertRegex(line, r"^GRPC_SERVER_READY_ON_PORT=\d+\n$")
            self.expect_ready(int(line.split("=")[1]))

    def test_a_line_before_the_server_serves(self):
        port = free_port()
        argv = ["--port", str(port), "--ready", "early-line"]
        with Worker("grpc_bridge.py", *argv) as worker:
            line = worker.process.stdout.readline().decode()
            self.assertEqual(line, f"GRPC_READY:{port}\n")
            self.expect_ready(port)

    def test_a_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "ready")
            os.mkfifo(path)  # Its reader wakes when the worker writes.
            argv = ["--port", "0", "--ready", "file"]
            environment = {"SNAKEPIT_READY_FILE": path}
            with Worker("grpc_bridge.py", *argv, environment=environment):
                with open(path) as file:
                    port = file.read()
                self.assertRegex(port, r"^\d+$")
                self.expect_ready(int(port))

    def test_two_servers_on_one_port_both_start(self):
        port = free_port()
        argv = ["grpc_bridge.py", "--port", str(port), "--ready", "line"]
        with Worker(*argv) as first, Worker(*argv) as second:
            for worker in [first, second]:
                line = worker.process.stdout.readline().decode()
                self.assertEqual(line, f"GRPC_READY:{port}\n")


class Stop(unittest.TestCase):
    def test_sigterm_lets_a_stream_end(self):
        argv = ["--port", "0", "--ready", "line"]
        with Worker("grpc_bridge.py", *argv) as worker:
            line = worker.process.stdout.readline().decode()
            with Client(int(line.split(":")[1])) as client:
                stream = client.stream("ping_stream", count=b"3", interval=b"0.05")
                next(stream)
                worker.process.send_signal(signal.SIGTERM)
                self.assertEqual([chunk.is_final for chunk in stream], [False, True])
            self.assertEqual(worker.wait(), 0)


if __name__ == "__main__":
    unittest.main()
