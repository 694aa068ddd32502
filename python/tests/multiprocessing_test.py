"""A process that a handler starts with multiprocessing is not the worker."""

import signal
import unittest

from grpc_client import encode, pb
from harness import LIMIT_S, NEGOTIATION, WorkerTestCase

MULTIPROCESSING = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from snakepit_bridge import Worker

worker = Worker("multiprocessing")


def square(x):
    return x * x


@worker.command("squares")
def squares(method):
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        return list(executor.map(square, range(4)))


def serve():
    worker.main()


@worker.command("serve_in_child")
def serve_in_child(method):
    child = multiprocessing.get_context(method).Process(target=serve)
    child.start()
    child.join()
    return child.exitcode


@worker.command("terminated")
def terminated(method):
    child = multiprocessing.get_context(method).Process(target=__import__("time").sleep, args=(60,))
    child.start()
    child.terminate()
    child.join()
    return child.exitcode


"""
GUARDED = MULTIPROCESSING + 'if __name__ == "__main__":\n    worker.main()\n'
METHODS = ("spawn", "forkserver", "fork")


class MultiprocessingTest(WorkerTestCase):
    def test_under_the_guard_each_method_serves_a_handler(self):
        path = self.path("guarded.py", GUARDED)
        for method in METHODS:
            worker = self.stdio([path], negotiation=NEGOTIATION)
            reply = worker.call("squares", method=method)
            self.assertEqual([0, 1, 4, 9], reply.get("result"), reply)
            self.assertEqual(-signal.SIGTERM, worker.call("terminated", method=method)["result"])
            worker.close_input()
            self.assertEqual(0, worker.wait()[0])
        reply = self.grpc([path]).execute(
            pb.ExecuteRequest(command="squares", args=encode({"method": "spawn"})), timeout=LIMIT_S
        )
        self.assertEqual(b"[0,1,4,9]", reply.result["result"])

    def test_without_the_guard_the_error_names_it(self):
        path = self.path("unguarded.py", MULTIPROCESSING + "worker.main()\n")
        for method in ("spawn", "forkserver"):
            worker = self.stdio([path], negotiation=NEGOTIATION)
            reply = worker.call("squares", method=method)
            self.assertEqual("HANDLER_FAILED", reply["code"])
            self.assertTrue(worker.call("ping", 2)["success"])
            worker.close_input()
            status, errors = worker.wait()
            self.assertEqual(0, status)
            self.assertIn("RuntimeError: worker.main() was called while multiprocessing", errors)
            self.assertIn('`if __name__ == "__main__":`', errors)

    def test_a_worker_over_stdio_is_a_program(self):
        path = self.path("guarded.py", GUARDED)
        for method in METHODS:
            worker = self.stdio([path], negotiation=NEGOTIATION)
            self.assertEqual(1, worker.call("serve_in_child", method=method)["result"])
            self.assertTrue(worker.call("ping", 2)["success"])


if __name__ == "__main__":
    unittest.main()
