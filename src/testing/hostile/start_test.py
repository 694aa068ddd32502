"""A worker over gRPC that misbehaves in its start is reported in time, and harms no other."""

import os
import unittest
from concurrent import futures

import grpc

from pool_host import HostileTestCase, wait_until

GRPC = ("--socket", "{socket}")
# gRPC starts and ends threads of its own at any time.
GRPC_THREADS = 4
START_MS = 3000
# Time beyond the limit of the start, for the end of the process on a busy machine.
SLACK_MS = 5000


class StartTest(HostileTestCase):
    def failed(self, behaviour, *arguments, codes=("START_FAILED", "START_TIMEOUT"), **options):
        """The outcome of a start, which fails in time and leaves the host as it was."""
        host = self.host()
        self.warm_up(host)
        bounds = self.grows_at_most(32, host), self.keeps_descriptors_and_threads(host, GRPC_THREADS)
        with bounds[0], bounds[1]:
            outcome = host.start(
                behaviour, *arguments, transport="grpc", start_timeout_ms=START_MS, **options
            )
        self.assertFalse(outcome["ok"])
        self.assertIn(outcome["code"], codes, outcome)
        self.assertLess(outcome["ms"], START_MS + SLACK_MS)
        self.assertIsNotNone(wait_until(lambda: not host.left(), 20), host.left())
        return host, outcome

    def warm_up(self, host):
        """Makes gRPC set up its state before anything is measured."""
        outcome = host.start("no-fault", *GRPC, transport="grpc")
        self.assertTrue(outcome["ok"], outcome)
        host.shutdown()
        host.forget()

    def said(self, host, outcome):
        return outcome["message"] + "\n" + "\n".join(host.log())


class AnnouncementTest(StartTest):
    def test_a_path_that_no_socket_can_have_is_refused_by_name(self):
        for behaviour in ("long-ready-line", "longer-ready-line"):
            host, outcome = self.failed(behaviour)
            said = self.said(host, outcome)
            self.assertRegex(said, r"107|too long|longer")
            self.assertLess(outcome["message_bytes"], 8192)

    def test_announcements_without_end_are_read_in_bounded_memory(self):
        self.failed("ready-lines-without-end")

    def foreign_server(self, address):
        """Starts a server in this process: its port, if any."""
        server = grpc.server(futures.ThreadPoolExecutor(1))
        port = server.add_insecure_port(address)
        server.start()
        self.addCleanup(lambda: server.stop(None).wait())
        return port

    def test_a_socket_of_another_process_is_refused(self):
        path = self.path("foreign.sock")
        self.foreign_server("unix:" + path)
        mode = os.stat(path).st_mode
        _, outcome = self.failed("foreign-socket", codes=("START_FAILED",))
        self.assertIn(path, outcome["message"])
        self.assertLess(outcome["ms"], START_MS)
        self.assertEqual(mode, os.stat(path).st_mode)

    def test_a_port_of_another_process_is_refused(self):
        port = str(self.foreign_server("127.0.0.1:0"))
        with open(self.path("foreign.port"), "w", encoding="ascii") as file:
            file.write(port)
        _, outcome = self.failed("foreign-port", codes=("START_FAILED",))
        self.assertIn(port, outcome["message"])
        self.assertLess(outcome["ms"], START_MS)


class ReadyFileTest(StartTest):
    def test_a_ready_file_that_is_no_file_is_not_read(self):
        with open(self.path("foreign.port"), "w", encoding="ascii") as file:
            file.write("1")
        for behaviour in ("fifo", "device", "link", "folder"):
            with self.subTest(behaviour):
                host, outcome = self.failed("ready-file-" + behaviour)
                self.noted("planted")

    def test_a_long_file_is_read_in_bounded_memory(self):
        self.failed("ready-file-large", "--mib", "300")

    def test_other_workers_are_served_meanwhile(self):
        for behaviour in ("fifo", "device"):
            with self.subTest(behaviour):
                host = self.host()
                outcome = host.start(
                    "ready-file-" + behaviour,
                    "--restarted",
                    transport="grpc",
                    workers=2,
                    start_timeout_ms=START_MS,
                )
                self.assertTrue(outcome["ok"], outcome)
                self.assertEqual("WORKER_LOST", host.call("die")["code"])
                self.noted("planted")
                with self.grows_at_most(32, host), self.others_are_served(host):
                    for _ in range(100):
                        self.assertTrue(host.call("echo", timeout_ms=2000)["ok"])
                host.shutdown()
                os.unlink(self.path("planted"))
                for worker in os.listdir(self.folder):
                    if worker.startswith("first."):
                        os.unlink(self.path(worker))


class PeerTest(StartTest):
    def test_a_peer_that_is_no_grpc_server_is_named_at_once(self):
        for behaviour, said in (
            ("http1-server", r"HTTP/1\.1 400 Bad Request"),
            ("ssh-banner", r"SSH-2\.0-OpenSSH"),
            ("controls-banner", r"safe "),
        ):
            for where in (GRPC, ("--port", "{port}")):
                with self.subTest(behaviour, where=where):
                    host = self.host()
                    outcome = host.start(
                        behaviour, *where, transport="grpc", start_timeout_ms=20000
                    )
                    self.assertEqual("START_FAILED", outcome["code"], outcome)
                    self.assertRegex(outcome["message"], said)
                    self.assertNotIn("\x1b", outcome["message"])
                    self.assertLess(outcome["ms"], 10000)

    def test_a_silent_peer_is_a_timeout_that_says_so(self):
        for where in (GRPC, ("--port", "{port}")):
            _, outcome = self.failed("silent-peer", *where, codes=("START_TIMEOUT",))
            self.assertRegex(outcome["message"], r"answer|silent|nothing|said")


if __name__ == "__main__":
    unittest.main()
