"""A worker over stdio while it is idle, and how it ends. PROTOCOL.md 1.4."""

import os
import time
import unittest

from harness import FIXTURE, FIXTURE_OF_FOUR, CallsTestCase


class IdleTest(CallsTestCase):
    def test_an_idle_worker_does_not_wake_up(self):
        for arguments in (FIXTURE, FIXTURE_OF_FOUR):
            worker = self.worker(arguments)
            worker.send(*({"id": i, "command": "nap"} for i in range(1, 5)))
            for _ in range(4):
                worker.receive()
            self.assertTrue(worker.call("ping", 5)["success"])
            time.sleep(0.05)  # lets the threads settle
            before = switches(worker.process.pid)
            time.sleep(0.3)
            self.assertEqual(before, switches(worker.process.pid))

    def test_short_calls_wake_no_other_thread(self):
        worker = self.worker()
        worker.call("ping", 1)
        before = switches(worker.process.pid, but_main=True)
        for request_id in range(2, 62):
            # The pause is long enough for a woken thread to go to sleep again.
            time.sleep(0.004)
            worker.call("ping", request_id)
        self.assertLess(switches(worker.process.pid, but_main=True) - before, 60)


def switches(pid, but_main=False):
    """The number of times that the threads of a process have gone to sleep."""
    count = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        if but_main and int(thread) == pid:
            continue
        with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("voluntary_ctxt_switches"):
                    count += int(line.split()[1])
    return count


class EndTest(CallsTestCase):
    def test_busy_handlers_end_first(self):
        for arguments, count in ((FIXTURE, 1), (FIXTURE_OF_FOUR, 4)):
            worker = self.worker(arguments, socketpair=True)
            for request_id in range(1, count + 1):
                worker.begin("nap", request_id, seconds=0.1)
            worker.close_input()
            ids = {worker.receive()["id"] for _ in range(count)}
            self.assertEqual(set(range(1, count + 1)), ids)
            self.assertIsNone(worker.receive())
            self.assertEqual(0, worker.wait()[0])

    def test_sigterm_lets_calls_in_progress_end(self):
        for arguments in (FIXTURE, FIXTURE_OF_FOUR):
            worker = self.worker(arguments)
            self.begin_waiting(worker)
            worker.process.terminate()
            worker.cancel()
            self.assertEqual("CANCELLED", worker.receive()["code"])
            self.assertIsNone(worker.receive())
            self.assertEqual(0, worker.wait()[0])
            os.unlink(self.path("started1"))

    def test_a_worker_that_is_ending_refuses_calls(self):
        worker = self.worker(FIXTURE_OF_FOUR)
        self.begin_waiting(worker)
        worker.process.terminate()
        # The worker may serve calls until it has handled the signal.
        for request_id in range(2, 1000):
            reply = worker.call("ping", request_id)
            if not reply["success"]:
                break
        self.assertEqual("CANCELLED", reply["code"])
        self.assertTrue(reply["did_not_run"])
        worker.cancel(1)
        self.assertEqual(1, worker.receive()["id"])
        self.assertEqual(0, worker.wait()[0])

    def test_sigterm_ends_an_idle_worker(self):
        for arguments in (FIXTURE, FIXTURE_OF_FOUR):
            worker = self.worker(arguments)
            worker.call("nap")  # ends with the main thread reading again
            worker.process.terminate()
            self.assertEqual(0, worker.wait()[0])

    def test_frames_that_cannot_be_read_while_a_handler_runs(self):
        for bad, status in ((b"\xff\xff\xff\xff", 1), (b"\0\0\0\x10{", 1)):
            worker = self.worker(socketpair=True)
            self.begin_waiting(worker)
            worker.cancel()
            self.assertEqual("CANCELLED", worker.receive()["code"])
            os.unlink(self.path("started1"))
            worker.begin("nap", 2, seconds=0.1)
            worker.send_bytes(bad)
            worker.close_input()
            replies = []
            while True:
                reply = worker.receive()
                if reply is None:
                    break
                replies.append(reply["id"])
            self.assertIn(2, replies)
            self.assertEqual(bad[0] == 0xFF, None in replies)
            self.assertEqual(status, worker.wait()[0])

    def test_a_pool_that_is_gone_is_an_error(self):
        for arguments in (FIXTURE, FIXTURE_OF_FOUR):
            worker = self.worker(arguments, socketpair=True)
            worker.begin("blocks", 1, count=1 << 30, size=1 << 16, members={"stream": True})
            worker.begin("nap", 2)
            worker.receive()
            os.close(worker._write_fd)
            worker._write_fd = worker._read_fd = -1
            status, errors = worker.wait()
            self.assertEqual(1, status)
            self.assertIn("stdio", errors)


if __name__ == "__main__":
    unittest.main()
