"""A hostile client of a worker's gRPC service costs both SDKs bounded resources."""

import os
import signal
import socket
import unittest

import grpc
import msgpack
from snakepit_bridge import snakepit_pb2 as pb

from hostile_client import LIMIT_S, TOKEN, WORKERS, ClientTestCase, Grpc
from http2_client import LargeCall, run
from pool_host import read

MIB = 1 << 20
METHODS = (
    "Execute",
    "ExecuteStream",
    "ExecuteInSession",
    "ExecuteInSessionStream",
    "Health",
    "GetInfo",
)
# Most threads beside those at rest. The Python SDK keeps up to 64.
MOST_THREADS = 80
TOO_LARGE = "MESSAGE_TOO_LARGE"
RIGHT = ("snakepit-token", TOKEN)
WRONG = ("snakepit-token", TOKEN[::-1])
# The limit of decoded values, with the share of the allocator and gRPC's copies. A parser of JSON adds
# 16 bytes for each value, which is 2 bytes or more.
DECODED_MIB = 512 * 1.5 + 256
PARSED_MIB = 8 * 48


def as_is(data):
    return data


class Client:
    """A client with a connection of its own, which sends bytes as messages."""

    def __init__(self, path):
        self.channel = grpc.insecure_channel(
            "unix:" + path,
            options=[
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
            ],
        )

    def method(self, name):
        kind = self.channel.unary_stream if "Stream" in name else self.channel.unary_unary
        return kind("/snakepit.SnakepitBridge/" + name, as_is, as_is)

    def begin(self, name, data, *metadata):
        """Begins an RPC."""
        method = self.method(name)
        if "Stream" in name:
            return method(data, timeout=LIMIT_S, metadata=metadata)
        return method.future(data, timeout=LIMIT_S, metadata=metadata)


class GrpcTestCase(ClientTestCase):
    def workers(self, **options):
        for name in WORKERS:
            yield self.worker(Grpc, name, self.path(name + ".sock"), SNAKEPIT_TOKEN=TOKEN, **options)

    def client(self, worker):
        client = Client(worker.path)
        self.addCleanup(client.channel.close)
        return client

    def assert_serves(self, client):
        request = pb.ExecuteRequest(command="echo", typed_args=b"\x81\xa1a\x01")
        reply = client.begin("Execute", request.SerializeToString(), RIGHT).result()
        self.assertTrue(pb.ExecuteResponse.FromString(reply).success)
        health = client.begin("Health", b"", RIGHT).result()
        self.assertTrue(pb.HealthResponse.FromString(health).healthy)

    def status(self, name, call):
        """Waits for the end of an RPC: its code and its text."""
        try:
            list(call) if "Stream" in name else call.result()
        except grpc.RpcError:
            pass
        return call.code(), call.details()


class TokenTest(GrpcTestCase):
    def test_a_body_without_the_token_is_not_read(self):
        for worker in self.workers():
            good = self.client(worker)
            self.assert_serves(good)
            descriptors, threads = worker.descriptors(), worker.threads()
            with self.grows_at_most(48, worker):
                for metadata in ((), (WRONG,)):
                    for method in ("Execute", "ExecuteStream"):
                        calls = [
                            LargeCall(worker.path, method, metadata, 40 * MIB) for _ in range(12)
                        ]
                        for call in calls:
                            self.addCleanup(call.close)
                        run(calls, LIMIT_S)
                        self.assert_serves(good)
                        for call in calls:
                            # The window may fill before the server looks at the headers.
                            self.assertLess(call.sent, 16 * MIB)
                            call.close()
            self.assert_serves(good)
            self.assert_comes_back_to(descriptors, threads + 8, worker)

    def test_one_token_the_right_one_and_no_other(self):
        bad = ((), (WRONG,), (RIGHT, WRONG), (WRONG, RIGHT), (RIGHT, RIGHT), (RIGHT,) * 40)
        for worker in self.workers():
            client = self.client(worker)
            statuses = {
                self.status(name, client.begin(name, b"", *metadata))
                for name in METHODS
                for metadata in bad
            }
            self.assertEqual(1, len(statuses), statuses)  # the same text for all
            [(code, text)] = statuses
            self.assertEqual(grpc.StatusCode.UNAUTHENTICATED, code)
            self.assertNotIn(TOKEN, text)
            self.assert_serves(client)

    def test_the_token_is_in_no_environment_and_no_command_line(self):
        for worker in self.workers():
            client = self.client(worker)
            self.assert_serves(client)
            request = pb.ExecuteRequest(command="fork_and_stay", typed_args=b"\x80")
            reply = client.begin("Execute", request.SerializeToString(), RIGHT).result()
            child = msgpack.unpackb(pb.ExecuteResponse.FromString(reply).typed_result)
            self.addCleanup(os.kill, child, signal.SIGKILL)
            for process in (worker.pid, child):
                environment = read(f"/proc/{process}/environ")
                self.assertIn(b"PYTHONPATH=", environment)
                self.assertFalse(TOKEN.encode() in environment, "the token is there")
                self.assertFalse(TOKEN.encode() in read(f"/proc/{process}/cmdline"))


class BoundsTest(GrpcTestCase):
    def test_silent_connections(self):
        for worker in self.workers():
            client = self.client(worker)
            self.assert_serves(client)
            descriptors, threads = worker.descriptors(), worker.threads()
            with self.grows_at_most(64, worker):
                silent = [socket.socket(socket.AF_UNIX) for _ in range(200)]
                for connection in silent:
                    connection.connect(worker.path)
                self.assert_serves(client)
                self.assertLessEqual(worker.threads(), threads + MOST_THREADS)
                for connection in silent:
                    connection.close()
            self.assert_comes_back_to(descriptors, threads + 8, worker)
            self.assert_serves(client)

    def test_small_elements_are_refused_by_their_decoded_size(self):
        count = 16 * MIB
        array = b"\xdd" + count.to_bytes(4, "big") + b"\x80" * count
        typed = pb.ExecuteRequest(command="echo", typed_args=b"\x81\xa1a" + array)
        legacy = pb.ExecuteRequest(command="echo")
        legacy.args["a"] = b"[{}" + b",{}" * (count - 1) + b"]"
        for worker in self.workers():
            client = self.client(worker)
            for request, parsed_mib in ((typed, 0), (legacy, PARSED_MIB)):
                data = request.SerializeToString()
                with self.grows_at_most(DECODED_MIB + parsed_mib, worker):
                    reply = client.begin("Execute", data, RIGHT).result()
                    [last] = client.begin("ExecuteStream", data, RIGHT)
                reply = pb.ExecuteResponse.FromString(reply)
                last = pb.StreamResponse.FromString(last)
                for answer in (reply, last):
                    self.assertEqual((TOO_LARGE, True), (answer.code, answer.did_not_run))
                self.assert_serves(client)

    def test_streams_that_nobody_reads(self):
        # {"total_bytes": 2^28, "chunk_bytes": 2^20}
        args = b"\x82\xabtotal_bytes\xce\x10\x00\x00\x00\xabchunk_bytes\xce\x00\x10\x00\x00"
        request = pb.ExecuteRequest(command="stream_bytes", typed_args=args)
        for worker in self.workers(capacity=8):
            client = self.client(worker)
            self.assert_serves(client)
            descriptors, threads = worker.descriptors(), worker.threads()
            with self.grows_at_most(160, worker):
                data = request.SerializeToString()
                streams = [
                    self.client(worker).begin("ExecuteStream", data, RIGHT) for _ in range(8)
                ]
                for stream in streams:  # each has begun
                    self.assertTrue(next(stream))
                health = client.begin("Health", b"", RIGHT).result()
                self.assertTrue(pb.HealthResponse.FromString(health).healthy)
                for stream in streams:
                    stream.cancel()
            self.assert_serves(client)
            self.assert_comes_back_to(descriptors + 16, threads + 8 + 8, worker)

    def test_large_calls_over_the_capacity_stay_with_the_client(self):
        args = b"\x81\xa1a\xc6\x01\0\0\0" + bytes(16 * MIB)
        large = pb.ExecuteRequest(command="nope", typed_args=args).SerializeToString()
        worker = self.worker(Grpc, "cpp", self.path("cpp.sock"), SNAKEPIT_TOKEN=TOKEN)
        client = self.client(worker)
        held = []

        def begin(args):
            request = pb.ExecuteRequest(command="hold", typed_args=msgpack.packb(args))
            held.append(client.begin("Execute", request.SerializeToString(), RIGHT))

        with self.held(begin):
            # 320 MiB: two requests are kept, each twice for a moment, and the windows.
            with self.grows_at_most(140, worker):
                calls = [client.begin("Execute", large, RIGHT) for _ in range(20)]
                # After these answers the transport has taken in all that it will.
                for _ in range(50):
                    health = client.begin("Health", b"", RIGHT).result()
                    self.assertTrue(pb.HealthResponse.FromString(health).healthy)
        self.assertTrue(pb.ExecuteResponse.FromString(held[0].result()).success)
        for call in calls:
            self.assertEqual("UNIMPLEMENTED", pb.ExecuteResponse.FromString(call.result()).code)

    def test_more_calls_than_a_worker_takes(self):
        request = pb.ExecuteRequest(command="conf.sleep", typed_args=b"\x81\xa2ms\x0a")
        for worker in self.workers(capacity=2):
            client = self.client(worker)
            self.assert_serves(client)
            threads = worker.threads()
            data = request.SerializeToString()
            with self.grows_at_most(96, worker):
                calls = [client.begin("Execute", data, RIGHT) for _ in range(2000)]
                ended = [self.status("Execute", call)[0] for call in calls]
            allowed = {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
            self.assertLessEqual(set(ended), allowed)
            self.assertGreater(ended.count(grpc.StatusCode.OK), 100)
            self.assertLessEqual(worker.threads(), threads + MOST_THREADS)
            self.assert_serves(client)


if __name__ == "__main__":
    unittest.main()
