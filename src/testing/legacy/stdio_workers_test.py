"""The legacy stdio workers, byte by byte: each case is a fact about the field."""

import os
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import msgpack  # noqa: E402

from raw_worker import Worker, request  # noqa: E402

NEGOTIATION = {
    "type": "protocol_negotiation",
    "supported": ["msgpack", "json"],
    "preferred": "msgpack",
    "timestamp": "2024-01-01T00:00:00Z",
}
V1 = ("v1_bridge.py", "--mode", "pool-worker")
V2_JSON = ("v2_bridge.py", "--mode", "pool-worker", "--protocol", "json")
V2_MSGPACK = ("v2_bridge.py", "--mode", "pool-worker", "--protocol", "msgpack")
V2_AUTO = ("v2_bridge.py", "--mode", "pool-worker")
JS = ("js_bridge.py", "--mode", "pool-worker")


class WorkerFacts:
    """Base of the TestCase of one kind of worker. `argv`: its command line."""

    def start(self):
        worker = Worker(*self.argv)
        self.addCleanup(worker.__exit__)
        return worker


class EveryJsonWorker(WorkerFacts):
    """The facts about each worker that speaks JSON from the first frame on."""

    def test_the_first_ping_is_answered_with_status_ok(self):
        worker = self.start()
        args = {"worker_id": "w1", "initialization": True}
        reply = worker.call(1, "ping", args)
        self.assertEqual(reply["id"], 1)
        self.assertIs(reply["success"], True)
        self.assertIsInstance(reply["timestamp"], str)
        result = reply["result"]
        self.assertEqual(result["status"], "ok")
        self.assertEqual(result["worker_id"], "w1")
        self.assertEqual(result["echo"], args)
        self.assertLessEqual(
            {"bridge_type", "uptime", "requests_handled", "timestamp"}, set(result)
        )
        self.assertTrue("python_version" in result or "node_version" in result)

    def test_the_other_commands(self):
        worker = self.start()
        reply = worker.call(1, "echo", {"a": [1, "ä", None]})
        self.assertEqual(reply["result"]["echoed"], {"a": [1, "ä", None]})
        reply = worker.call(2, "compute", {"operation": "divide", "a": 6, "b": 4})
        self.assertEqual(reply["result"]["result"], 1.5)
        self.assertEqual(reply["result"]["inputs"], {"a": 6, "b": 4})
        info = worker.call(3, "info")["result"]["bridge_info"]
        self.assertIn("compute", info["supported_commands"])
        self.assertEqual(info["total_requests"], 3)

    def test_pipelined_requests_are_answered_in_order(self):
        worker = self.start()
        worker.send(*[request(id, "echo") for id in range(1, 51)])
        self.assertEqual([worker.read()["id"] for _ in range(50)], [*range(1, 51)])

    def test_the_end_of_input_ends_an_idle_worker_with_0(self):
        worker = self.start()
        worker.close_stdin()
        self.assertEqual((worker.rest(), worker.wait()), (b"", 0))

    def test_a_busy_worker_replies_before_it_ends(self):
        worker = self.start()
        worker.send(request(1, "ping"))
        worker.close_stdin()
        self.assertEqual(worker.read()["id"], 1)
        self.assertEqual(worker.wait(), 0)

    def test_sigterm_ends_an_idle_worker_with_0(self):
        worker = self.start()
        worker.call(1, "ping")
        worker.terminate()
        self.assertEqual(worker.wait(), 0)

    def test_a_length_of_gigabytes_blocks_until_the_end_of_input(self):
        for length in [0x7FFFFFFF, 0xFFFFFFFF]:
            worker = self.start()
            worker.send_bytes(struct.pack(">I", length) + b"{}")
            worker.close_stdin()
            self.assertEqual((worker.rest(), worker.wait()), (b"", 0))


class PythonWorker(EveryJsonWorker):
    """The facts about the workers written in Python."""

    def test_a_negotiation_is_an_unknown_command(self):
        worker = self.start()
        worker.send(NEGOTIATION)
        reply = worker.read()
        self.assertEqual(set(reply), {"id", "success", "result", "timestamp"})
        self.assertIsNone(reply["id"])
        self.assertIs(reply["success"], True)
        result = reply["result"]
        self.assertEqual(
            set(result), {"status", "error", "supported_commands", "timestamp"}
        )
        self.assertEqual(result["error"], "Unknown command: None")
        self.assertIsInstance(result["timestamp"], float)
        self.assertEqual(worker.call(1, "ping")["id"], 1)

    def test_failures_are_reported_as_success(self):
        worker = self.start()
        reply = worker.call(1, "no_such_command")
        self.assertIs(reply["success"], True)
        self.assertEqual(
            reply["result"]["error"], "Unknown command: no_such_command"
        )
        reply = worker.call(2, "compute", {"operation": "divide", "a": 1, "b": 0})
        self.assertIs(reply["success"], True)
        self.assertEqual(reply["result"]["status"], "error")
        self.assertEqual(reply["result"]["error"], "division by zero")

    def test_an_undecodable_request_gets_no_reply(self):
        worker = self.start()
        worker.send(b'{"id":', b'{"id": "\xff"}', b"")
        self.assertEqual(worker.call(4, "ping")["id"], 4)

    def test_an_empty_map_is_taken_for_the_end_of_input(self):
        worker = self.start()
        worker.send({})
        self.assertEqual((worker.rest(), worker.wait()), (b"", 0))

    def test_a_value_that_is_no_map_ends_it_with_1(self):
        for payload in [b"[1,2]", b"5"]:
            worker = self.start()
            worker.send(payload)
            self.assertEqual((worker.rest(), worker.wait()), (b"", 1))

    def test_infinity_is_written_as_no_json(self):
        worker = self.start()
        args = {"operation": "multiply", "a": 1e308, "b": 10}
        worker.send(request(1, "compute", args))
        self.assertIn(b'"result": Infinity', worker.read_payload())

    def test_json_is_written_in_ascii(self):
        worker = self.start()
        worker.send(request(1, "echo", {"text": "ä"}))
        self.assertIn(b"\\u00e4", worker.read_payload())


class V1Worker(PythonWorker, unittest.TestCase):
    argv = V1


class V2JsonWorker(PythonWorker, unittest.TestCase):
    argv = V2_JSON


class V2MsgpackWorker(WorkerFacts, unittest.TestCase):
    argv = V2_MSGPACK

    def ask(self, worker, id, command, args):
        worker.send(msgpack.packb(request(id, command, args)))
        return self.read(worker)

    def read(self, worker):
        return msgpack.unpackb(worker.read_payload(), strict_map_key=False)

    def test_bytes_that_are_utf8_become_text_map_keys_included(self):
        worker = self.start()
        args = {"t": b"ab", "raw": b"\xff", "map": {b"k": 1, 7: 2}}
        self.assertEqual(
            self.ask(worker, 1, "echo", args)["result"]["echoed"],
            {"t": "ab", "raw": b"\xff", "map": {"k": 1, 7: 2}},
        )

    def test_json_is_accepted_and_answered_in_msgpack(self):
        worker = self.start()
        worker.send(request(1, "ping"))
        self.assertEqual(self.read(worker)["result"]["status"], "ok")

    def test_a_negotiation_is_an_unknown_command_answered_in_msgpack(self):
        worker = self.start()
        worker.send(NEGOTIATION)
        reply = self.read(worker)
        self.assertIsNone(reply["id"])
        self.assertEqual(reply["result"]["error"], "Unknown command: None")

    def test_an_undecodable_request_gets_no_reply(self):
        worker = self.start()
        worker.send(b"\xc1", b"", b'{"id"')
        self.assertEqual(self.ask(worker, 4, "ping", {})["id"], 4)

    def test_a_result_that_cannot_be_encoded_ends_it_with_0(self):
        worker = self.start()
        args = {"operation": "multiply", "a": 2**63, "b": 2**63}
        worker.send(msgpack.packb(request(1, "compute", args)))
        self.assertEqual((worker.rest(), worker.wait()), (b"", 0))


class V2AutoWorker(WorkerFacts, unittest.TestCase):
    argv = V2_AUTO

    def test_the_preferred_codec_is_selected_in_json(self):
        worker = self.start()
        worker.send(NEGOTIATION)
        reply = worker.read()
        self.assertEqual(set(reply), {"type", "protocol", "timestamp"})
        self.assertEqual(reply["type"], "protocol_selected")
        self.assertEqual(reply["protocol"], "msgpack")
        worker.send(msgpack.packb(request(1, "ping")))
        reply = msgpack.unpackb(worker.read_payload())
        self.assertEqual(reply["result"]["status"], "ok")

    def test_json_can_be_selected(self):
        worker = self.start()
        worker.send({**NEGOTIATION, "supported": ["json"], "preferred": "json"})
        self.assertEqual(worker.read()["protocol"], "json")
        self.assertEqual(worker.call(1, "ping")["id"], 1)

    def test_unknown_fields_are_ignored(self):
        worker = self.start()
        worker.send({**NEGOTIATION, "version": 2, "features": ["stream"]})
        self.assertEqual(worker.read()["protocol"], "msgpack")

    def test_a_request_sent_first_is_swallowed(self):
        worker = self.start()
        worker.send(request(1, "ping"))
        self.assertEqual(worker.call(2, "ping")["id"], 2)


class JsWorker(EveryJsonWorker, unittest.TestCase):
    argv = JS

    def test_a_negotiation_gets_an_error_without_an_id(self):
        worker = self.start()
        worker.send(NEGOTIATION)
        reply = worker.read()
        self.assertEqual(set(reply), {"success", "error", "timestamp"})
        self.assertIs(reply["success"], False)
        self.assertEqual(reply["error"], "Unknown command: undefined")
        self.assertTrue(reply["timestamp"].endswith("Z"))

    def test_a_payload_that_is_no_request_gets_an_error_without_an_id(self):
        worker = self.start()
        for payload in [b"{}", b"[1,2]", b"5"]:
            worker.send(payload)
            reply = worker.read()
            self.assertIs(reply["success"], False)
            self.assertNotIn("id", reply)

    def test_failures_are_errors(self):
        worker = self.start()
        reply = worker.call(1, "no_such_command")
        self.assertEqual((reply["id"], reply["success"]), (1, False))
        self.assertEqual(reply["error"], "Unknown command: no_such_command")
        reply = worker.call(2, "compute", {"operation": "divide", "a": 1, "b": 0})
        self.assertEqual((reply["id"], reply["success"]), (2, False))

    def test_an_undecodable_request_stops_its_reading_for_ever(self):
        for payload in [b'{"id":', b'{"id": "\xff"}', b""]:
            worker = self.start()
            worker.send(payload, request(1, "ping"))
            self.assertIn("SyntaxError", worker.stderr_line())
            self.assertIsNone(worker.process.poll())
            worker.terminate()
            self.assertEqual((worker.rest(), worker.wait()), (b"", 0))

    def test_large_integers_lose_their_low_bits(self):
        worker = self.start()
        worker.send(request(1, "echo", {"n": 2**53 + 1, "f": 2.0, "t": "ä"}))
        payload = worker.read_payload()
        self.assertIn(b'"n": 9007199254740992', payload)
        self.assertIn(b'"f": 2,', payload)
        self.assertIn("ä".encode(), payload)

    def test_its_own_commands(self):
        worker = self.start()
        args = {"operation": "power", "a": 2, "b": 10}
        self.assertEqual(worker.call(1, "compute", args)["result"]["result"], 1024)
        args = {"operation": "sqrt", "a": 9}
        self.assertEqual(worker.call(2, "compute", args)["result"]["result"], 3)
        self.assertIn("value", worker.call(3, "random")["result"])


if __name__ == "__main__":
    unittest.main()
