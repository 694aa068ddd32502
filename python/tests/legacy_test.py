"""Clients that know version 1 only, on every transport. PROTOCOL.md 2 to 4.

They send and expect the same as pools in the field, and share no code with the SDK.
"""

import json
import struct
import unittest

import msgpack

from grpc_client import pb
from harness import BUNDLED, FIXTURE, FIXTURE_OF_FOUR, WorkerTestCase

TIMESTAMP = "2024-01-01T00:00:00Z"
SUCCESS = {"id", "success", "result", "timestamp"}
FAILURE = {"id", "success", "error", "timestamp"}


class LegacyStdioClient:
    """Sends requests, each of which gets one reply of the same id."""

    def __init__(self, worker, encode, decode):
        self.worker = worker
        self.encode = encode
        self.decode = decode
        self.next_id = 0

    def negotiate(self, preferred, supported):
        """Negotiates, always in JSON; returns the codec that the worker selects."""
        message = {
            "type": "protocol_negotiation",
            "supported": supported,
            "preferred": preferred,
            "timestamp": TIMESTAMP,
        }
        self.send_bytes(json.dumps(message).encode())
        answer = json.loads(self.worker.receive_bytes())
        assert set(answer) == {"type", "protocol", "timestamp"}, answer
        assert answer["type"] == "protocol_selected", answer
        return answer["protocol"]

    def start(self):
        """Sends the first ping, whose reply says that the worker is ready."""
        result = self.call("ping", worker_id="w1", initialization=True)
        assert result["status"] == "ok" and result["worker_id"] == "w1", result

    def send_bytes(self, payload):
        self.worker.send_bytes(struct.pack(">I", len(payload)) + payload)

    def send(self, command, args):
        self.next_id += 1
        message = {"id": self.next_id, "command": command, "args": args}
        self.send_bytes(self.encode({**message, "timestamp": TIMESTAMP}))
        return self.next_id

    def receive(self, request_id):
        reply = self.decode(self.worker.receive_bytes())
        assert reply["id"] == request_id, reply
        assert set(reply) == (SUCCESS if reply["success"] else FAILURE), reply
        assert isinstance(reply["timestamp"], str)
        return reply

    def call(self, command, **args):
        """The result of a command, or its error as a text after "!"."""
        reply = self.receive(self.send(command, args))
        return reply["result"] if reply["success"] else "!" + reply["error"]


def json_client(worker):
    return LegacyStdioClient(worker, lambda m: json.dumps(m).encode(), json.loads)


def message_pack_client(worker):
    return LegacyStdioClient(
        worker,
        lambda message: msgpack.packb(message, use_bin_type=True),
        lambda payload: msgpack.unpackb(payload, raw=False),
    )


class LegacyStdioTest(WorkerTestCase):
    def clients(self, arguments):
        """A client for each codec, with and without a negotiation."""
        for negotiated in (True, False):
            for make, codec in ((json_client, "json"), (message_pack_client, "msgpack")):
                client = make(self.stdio(arguments))
                if negotiated:
                    selected = client.negotiate(codec, ["msgpack", "json"])
                    self.assertEqual(codec, selected)
                client.start()
                yield client

    def test_calls(self):
        for client in self.clients(BUNDLED):
            args = {"a": [1, None, True, 1.5, "é"], "b": {"c": ""}, "$d": {"$bytes": "x"}}
            self.assertEqual(args, client.call("echo", **args)["echoed"])
            result = client.call("compute", operation="add", a=2, b=3)
            self.assertEqual((5, {"a": 2, "b": 3}), (result["result"], result["inputs"]))
            info = client.call("info")
            self.assertIn("compute", info["bridge_info"]["supported_commands"])
            self.assertTrue(client.call("nope").startswith("!Unknown command"))
            self.assertIn("ZeroDivision", client.call("compute", operation="divide", a=1, b=0))
            chunks = client.call("ping_stream", count=2, interval=0)["chunks"]
            self.assertEqual(["Ping 1 of 2", "Ping 2 of 2"], [c["message"] for c in chunks])
            self.assertEqual("ok", client.call("ping", health_check=True)["status"])

    def test_pipelined_requests_are_answered_in_order(self):
        for client in self.clients(FIXTURE_OF_FOUR):
            ids = [
                client.send("nap", {"seconds": 0.01 if number % 7 == 0 else 0})
                for number in range(40)
            ]
            most = [client.receive(request_id)["result"] for request_id in ids]
            self.assertEqual([1] * 40, most)

    def test_members_of_version_2_mean_nothing(self):
        client = json_client(self.stdio(FIXTURE))
        client.start()
        request = {"id": 9, "command": "conf.stream", "args": {"count": 2}, "stream": True}
        client.send_bytes(json.dumps({**request, "credit": 0, "timeout_ms": "x"}).encode())
        self.assertEqual(2, len(client.receive(9)["result"]["chunks"]))
        request = {"id": 10, "command": "context", "args": {}, "session_id": 5}
        client.send_bytes(json.dumps(request).encode())
        self.assertIsNone(client.receive(10)["result"]["session_id"])
        client.send_bytes(json.dumps({"id": 11, "type": "health"}).encode())
        self.assertIs(False, client.receive(11)["success"])

    def test_a_legacy_json_pool_gets_no_tags(self):
        client = json_client(self.stdio(FIXTURE))
        client.start()
        for value in ({"$bytes": "/wA="}, {"$$a": 1}, {"$x": {"$double": 5}}):
            self.assertEqual(value, client.call("conf.echo", value=value))
            self.assertEqual({"value": "dict"}, client.call("kinds", value=value))
        for command, args in (("buffers", {}), ("bad_value", {"kind": "nan"})):
            self.assertIn("cannot be encoded", client.call(command, **args))

    def test_message_pack_has_bin_for_bytes(self):
        client = message_pack_client(self.stdio(FIXTURE))
        client.start()
        self.assertEqual(b"abc", client.call("conf.echo", value=b"abc"))
        self.assertEqual({"value": "bytes"}, client.call("kinds", value=b"abc"))

    def test_the_end_of_the_input_ends_the_worker(self):
        for client in self.clients(BUNDLED):
            client.worker.close_input()
            self.assertIsNone(client.worker.receive_bytes())
            self.assertEqual(0, client.worker.wait()[0])


class LegacyGrpcTest(WorkerTestCase):
    def call(self, worker, command, timeout_ms=5000, **args):
        request = pb.ExecuteRequest(
            command=command, args=args, timeout_ms=timeout_ms, request_id="7"
        )
        # An old peer sees only the old fields.
        reply = worker.execute(request)
        self.assertEqual("7", reply.request_id)
        self.assertEqual(b"", reply.typed_result)
        self.assertGreater(reply.timestamp, 1_600_000_000 * 10**9)
        return reply

    def test_calls(self):
        worker = self.grpc()
        health = worker.health(pb.HealthRequest(worker_id="w1"))
        self.assertTrue(health.healthy)
        reply = self.call(worker, "compute", operation=b'"add"', a=b"2", b=b"3")
        self.assertTrue(reply.success)
        self.assertEqual(b"5", reply.result["result"])
        self.assertEqual({"a": 2, "b": 3}, json.loads(reply.result["inputs"]))
        self.assertEqual(b"ok", reply.result["status"])
        reply = self.call(worker, "echo", text=b"abc", number=b"1.5", raw=b"\xff")
        self.assertFalse(reply.success)  # bytes within a map have no form in version 1
        reply = self.call(worker, "echo", text=b"abc", number=b"1.5", tag=b'{"$bytes":""}')
        self.assertEqual(
            {"text": "abc", "number": 1.5, "tag": {"$bytes": ""}},
            json.loads(reply.result["echoed"]),
        )
        reply = self.call(worker, "nope")
        self.assertEqual((False, {}), (reply.success, dict(reply.result)))
        self.assertTrue(reply.error.startswith("Unknown command"))
        info = worker.get_info(pb.InfoRequest(include_capabilities=True, include_stats=True))
        self.assertIn("echo", info.supported_commands)
        self.assertEqual(0, info.protocol_version)

    def test_a_result_that_is_no_map_becomes_a_map_with_one_key(self):
        worker = self.grpc(FIXTURE)
        for value in (b"5", b'"text"', b"[1]", b"null"):
            reply = self.call(worker, "conf.echo", value=value)
            self.assertEqual({"result": value.strip(b'"')}, dict(reply.result))

    def test_streams(self):
        worker = self.grpc()
        for make, request in (
            (worker.execute_stream, pb.ExecuteRequest),
            (
                worker.execute_in_session_stream,
                lambda **fields: pb.SessionRequest(session_id="s", **fields),
            ),
        ):
            args = {"count": b"3", "interval": b"0"}
            messages = list(make(request(command="ping_stream", args=args, request_id="7")))
            self.assertEqual([0, 1, 2], [m.chunk_index for m in messages])
            self.assertEqual([False, False, True], [m.is_final for m in messages])
            self.assertEqual(b"Ping 1 of 3", messages[0].chunk["message"])
            (final,) = make(request(command="ping_stream", args={"count": b"-1"}))
            self.assertEqual((True, {}), (final.is_final, dict(final.chunk)))
            self.assertTrue(final.error)

    def test_a_last_chunk_that_is_an_empty_map_precedes_a_final_message(self):
        worker = self.grpc(FIXTURE)
        request = pb.ExecuteRequest(command="conf.echo", args={"value": b"{}"})
        messages = list(worker.execute_stream(request))
        self.assertEqual([False, True], [m.is_final for m in messages])

    def test_sessions(self):
        worker = self.grpc(FIXTURE)
        for session, expected in (("a", b"1"), ("a", b"2"), ("b", b"1")):
            reply = worker.execute_in_session(
                pb.SessionRequest(session_id=session, command="conf.incr")
            )
            self.assertEqual(expected, reply.result["result"])


if __name__ == "__main__":
    unittest.main()
