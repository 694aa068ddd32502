"""The opening frame of a connection over stdio. PROTOCOL.md 2.3 and 3."""

import unittest

import msgpack

from harness import FIXTURE, FIXTURE_OF_FOUR, NEGOTIATION, PYTHON_PATH, WorkerTestCase, frame


class NegotiationTest(WorkerTestCase):
    def test_version_2_is_answered_with_the_common_features(self):
        worker = self.stdio(SNAKEPIT_WORKER_ID="w7")
        worker.send(NEGOTIATION)
        answer = worker.receive()
        self.assertTrue(answer.pop("timestamp").endswith("Z"))
        self.assertEqual(
            {
                "type": "protocol_selected",
                "protocol": "json",
                "version": 2,
                "features": ["stream", "session"],
                "worker_id": "w7",
                "capacity": 1,
                "max_frame_bytes": 64 << 20,
            },
            answer,
        )

    def test_a_legacy_pool_gets_the_legacy_protocol(self):
        worker = self.stdio()
        worker.send({"type": "protocol_negotiation", "supported": ["json"], "preferred": "json"})
        self.assertEqual({"type", "protocol", "timestamp"}, set(worker.receive().keys()))
        request = {"id": 1, "command": "ping_stream", "args": {"count": 0}}
        worker.send({**request, "stream": True})
        self.assertEqual({"chunks": []}, worker.receive()["result"])
        self.assertEqual({"id", "success", "error", "timestamp"}, set(worker.call("nope").keys()))

    def test_the_preferred_codec_is_taken_and_else_the_pools_first(self):
        for supported, preferred, expected in (
            (["json", "msgpack"], "msgpack", "msgpack"),
            (["json", "msgpack"], "json", "json"),
            (["json", "msgpack"], "cbor", "json"),
            (["cbor", "msgpack", "json"], None, "msgpack"),
            (["json"], "msgpack", "json"),
        ):
            worker = self.stdio()
            worker.send({**NEGOTIATION, "supported": supported, "preferred": preferred})
            self.assertEqual(expected, worker.receive()["protocol"])

    def test_no_common_codec_is_an_error_that_names_both_sides(self):
        for supported in (["cbor"], [], None, "json"):
            worker = self.stdio()
            worker.send({**NEGOTIATION, "supported": supported})
            answer = worker.receive()
            self.assertEqual("protocol_error", answer["type"])
            self.assertIn("msgpack", answer["error"])
            if supported == ["cbor"]:
                self.assertIn("cbor", answer["error"])
            self.assertEqual(1, worker.wait()[0])

    def test_a_refused_member_is_shown_as_a_short_text(self):
        long = ["x" * (1 << 20)] * 4 + [["deep"] * 1000, {"a": 1}] + ["y"] * 1000
        for members, text in (
            ({"supported": long}, "no common codec: the pool offers ['xxx"),
            ({"version": "1" * (1 << 20)}, "version must be an integer of at least 1, not '111"),
            ({"version": long}, "version must be an integer of at least 1, not ['xxx"),
            ({"max_frame_bytes": long}, "max_frame_bytes must be an integer"),
        ):
            worker = self.stdio()
            worker.send({**NEGOTIATION, **members})
            answer = worker.receive()
            self.assertEqual("protocol_error", answer["type"])
            self.assertIn(text, answer["error"])
            self.assertLess(len(answer["error"]), 1000)
            self.assertEqual(1, worker.wait()[0])

    def test_message_pack_keeps_text_bytes_and_integers_apart(self):
        worker = self.stdio()
        worker.send({**NEGOTIATION, "preferred": "msgpack"})
        self.assertEqual("msgpack", worker.receive()["protocol"])
        args = {
            "bytes": b"123",
            "text": "123",
            "least": -(1 << 63),
            "most": (1 << 64) - 1,
            "float": 1.0,
            "none": None,
            "nested": {"list": [b"", "", {}]},
        }
        worker.send_bytes(frame(msgpack.packb({"id": 1, "command": "echo", "args": args})))
        reply = msgpack.unpackb(worker.receive_bytes())
        self.assertEqual(args, reply["result"]["echoed"])
        self.assertIs(float, type(reply["result"]["echoed"]["float"]))

    def test_message_pack_never_falls_back_to_json(self):
        worker = self.stdio()
        worker.send({**NEGOTIATION, "preferred": "msgpack"})
        worker.receive()
        worker.send({"id": 1, "command": "ping"})
        reply = msgpack.unpackb(worker.receive_bytes())
        self.assertEqual((None, False), (reply["id"], reply["success"]))
        # A message with a key that is no text is refused with its id.
        worker.send_bytes(frame(msgpack.packb({"id": 4, "command": "echo", "args": {1: 2}})))
        reply = msgpack.unpackb(worker.receive_bytes())
        self.assertEqual((4, False), (reply["id"], reply["success"]))

    def test_a_request_sent_first_is_answered_in_its_own_codec(self):
        worker = self.stdio()
        self.assertTrue(worker.call("ping")["success"])

        worker = self.stdio()
        request = msgpack.packb({"id": 9, "command": "echo", "args": {"x": b"\x00"}})
        for _ in range(2):
            worker.send_bytes(frame(request))
            reply = msgpack.unpackb(worker.receive_bytes())
            self.assertEqual((9, True), (reply["id"], reply["success"]))
            self.assertEqual({"x": b"\x00"}, reply["result"]["echoed"])

    def test_a_worker_without_message_pack_offers_json(self):
        # This module hides the real package and cannot be imported.
        self.path("msgpack.py", "raise ImportError('no such package')")
        env = {"PYTHONPATH": f"{self.folder}:{PYTHON_PATH}"}
        worker = self.stdio(FIXTURE, **env)
        worker.send({**NEGOTIATION, "preferred": "msgpack"})
        self.assertEqual("json", worker.receive()["protocol"])
        worker = self.stdio(FIXTURE, **env)
        worker.send({**NEGOTIATION, "supported": ["msgpack"]})
        self.assertEqual("protocol_error", worker.receive()["type"])

    def test_the_capacity_and_the_limit_are_the_workers_own(self):
        worker = self.stdio(FIXTURE_OF_FOUR, SNAKEPIT_MAX_FRAME_BYTES="4096")
        worker.send({**NEGOTIATION, "max_frame_bytes": 1 << 30})
        answer = worker.receive()
        self.assertEqual((4, 4096), (answer["capacity"], answer["max_frame_bytes"]))

    def test_a_version_over_2_gets_2_and_only_what_was_offered(self):
        worker = self.stdio()
        worker.send({**NEGOTIATION, "version": 3, "features": ["session", 5]})
        answer = worker.receive()
        self.assertEqual((2, ["session"]), (answer["version"], answer["features"]))
        # Without the feature, `stream` is an unknown member.
        request = {"id": 1, "command": "ping_stream", "args": {"count": 0}}
        worker.send({**request, "stream": True, "credit": "x"})
        self.assertEqual({"chunks": []}, worker.receive()["result"])

    def test_a_limit_out_of_range_is_refused_in_version_2_alone(self):
        for bad in (0, 1023, 1 << 31, "1024", 2048.0, True, None):
            worker = self.stdio()
            worker.send({**NEGOTIATION, "max_frame_bytes": bad})
            answer = worker.receive()
            self.assertEqual("protocol_error", answer["type"], bad)
            self.assertIn("max_frame_bytes", answer["error"])
            self.assertEqual(1, worker.wait()[0])
        worker = self.stdio()
        worker.send({**NEGOTIATION, "version": 1, "max_frame_bytes": 0})
        self.assertEqual("protocol_selected", worker.receive()["type"])

    def test_a_second_negotiation_is_ignored(self):
        worker = self.stdio(negotiation=NEGOTIATION)
        worker.send({**NEGOTIATION, "preferred": "msgpack"})
        self.assertTrue(worker.call("ping")["success"])


if __name__ == "__main__":
    unittest.main()
