"""Frames in all the forms that a pool may send. PROTOCOL.md 2.1."""

import json
import os
import struct
import unittest

from harness import NEGOTIATION, WorkerTestCase, frame
from snakepit_bridge.frames import FrameReader, OversizedFrame, TruncatedFrame


class FrameReaderTest(unittest.TestCase):
    def setUp(self):
        read_fd, self.write_fd = os.pipe()
        self.reader = FrameReader(read_fd, 1 << 20, spin=True)
        self.addCleanup(os.close, read_fd)

    def write(self, data):
        os.write(self.write_fd, data)

    def end(self):
        os.close(self.write_fd)

    def test_frames_in_one_write_are_told_apart(self):
        self.write(frame(b"a") + frame(b"") + frame(b"bcd"))
        self.end()
        payloads = [bytes(self.reader.read()) for _ in range(3)]
        self.assertEqual([b"a", b"", b"bcd"], payloads)
        self.assertIsNone(self.reader.read())

    def test_frames_across_the_end_of_the_buffer_are_whole(self):
        payloads = [bytes([number]) * 30_000 for number in range(9)]
        stream = b"".join(map(frame, payloads))
        read = []
        while stream:
            # Each write ends within a frame, so the frame's beginning stays in the buffer.
            self.write(stream[:30_020])
            stream = stream[30_020:]
            read.append(bytes(self.reader.read()))
        self.end()
        self.assertEqual(payloads, read)

    def test_a_length_over_the_limit_is_an_error_at_once(self):
        self.write(struct.pack(">I", (1 << 20) + 1))
        with self.assertRaises(OversizedFrame):
            self.reader.read()
        self.end()

    def test_an_end_within_a_header_or_payload_is_an_error(self):
        self.write(b"\0\0")
        self.end()
        with self.assertRaises(TruncatedFrame):
            self.reader.read()


class WorkerFramesTest(WorkerTestCase):
    def test_a_request_in_single_bytes_is_answered(self):
        for socketpair in (False, True):
            worker = self.stdio(socketpair=socketpair)
            request = {"id": 5, "command": "echo", "args": {"x": "é"}}
            for byte in frame(json.dumps(request).encode()):
                worker.send_bytes(bytes([byte]))
            reply = worker.receive()
            self.assertEqual((5, {"x": "é"}), (reply["id"], reply["result"]["echoed"]))

    def test_a_hundred_requests_in_one_write_are_answered_in_order(self):
        worker = self.stdio()
        worker.send(*({"id": i, "command": "ping"} for i in range(1, 101)))
        self.assertEqual(list(range(1, 101)), [worker.receive()["id"] for _ in range(100)])

    def test_invalid_requests_are_answered_and_the_worker_lives_on(self):
        for opening in (None, NEGOTIATION):
            worker = self.stdio(negotiation=opening)
            for payload in (
                b"",
                b"not json",
                b"\xff\xfe",
                b"{}",
                b"[1,2]",
                b"5",
                b'{"id":1e400,"command":"ping"}',
                b'{"id":NaN,"command":"ping"}',
                b'{"id":true,"command":"ping"}',
                b'{"id":"1","command":"ping"}',
                b'{"command":"ping"}',
                b'{"id":' + b"9" * 40 + b',"command":"ping"}',
                b"[" * 100_000,
            ):
                worker.send_bytes(frame(payload))
                reply = worker.receive()
                self.assertIs(False, reply["success"], payload[:20])
                self.assertIsNone(reply["id"], payload[:20])
                self.assertTrue(reply["error"])
                self.assertEqual(opening is not None, "code" in reply)
            self.assertTrue(worker.call("ping")["success"])

    def test_an_error_carries_the_id_when_there_is_one(self):
        worker = self.stdio()
        for request in (
            {"id": 7},
            {"id": 7, "command": 5},
            {"id": 7, "command": "ping", "args": [1]},
        ):
            worker.send(request)
            reply = worker.receive()
            self.assertEqual((7, False), (reply["id"], reply["success"]))
        worker.send({"id": -3, "command": "ping"})
        self.assertEqual(-3, worker.receive()["id"])

    def test_a_length_over_the_limit_is_answered_and_ends_the_worker(self):
        for length in ((64 << 20) + 1, 0x7FFFFFFF, 0xFFFFFFFF):
            worker = self.stdio()
            worker.send_bytes(struct.pack(">I", length))
            reply = worker.receive()
            self.assertEqual((None, False), (reply["id"], reply["success"]))
            self.assertIn(str(length), reply["error"])
            status, errors = worker.wait()
            self.assertEqual(1, status)
            self.assertIn(str(length), errors)

    def test_the_limit_is_exact_and_settable(self):
        worker = self.stdio(SNAKEPIT_MAX_FRAME_BYTES="2048")
        request = b'{"id":1,"command":"ping","args":{"x":"%s"}}'
        padded = (request % b"x").ljust(2048)
        worker.send_bytes(frame(padded))
        self.assertTrue(worker.receive()["success"])
        worker.send_bytes(frame(padded + b" "))
        self.assertFalse(worker.receive()["success"])
        self.assertEqual(1, worker.wait()[0])

    def test_a_large_frame_comes_back_whole(self):
        for socketpair in (False, True):
            worker = self.stdio(socketpair=socketpair)
            text = "0123456789abcdef" * (5 << 16)
            reply = worker.call("echo", text=text)
            self.assertEqual(text, reply["result"]["echoed"]["text"])

    def test_an_end_within_a_frame_executes_nothing_and_exits_1(self):
        worker = self.stdio()
        worker.send_bytes(frame(b'{"id":1,"command":"ping"}')[:-1])
        worker.close_input()
        self.assertIsNone(worker.receive())
        self.assertEqual(1, worker.wait()[0])


if __name__ == "__main__":
    unittest.main()
