"""An intruder on the same host gets no token and no argument of the pool."""

import os
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from concurrent import futures

import grpc

from pool_host import LIMIT_S, HostileTestCase, wait_until

SNAKEPIT = os.path.abspath("src/cli/snakepit")
SECRET = "an argument that nobody else may see"
START_MS = 3000
SERVICE = "snakepit.SnakepitBridge"
NOBODY = 65534


class Intruder:
    """Takes the ports that the worker names, and answers like a good worker."""

    def __init__(self, path, reuse_port):
        self.seen = []  # (method, metadata, request)
        self.ports = []
        self._reuse_port = reuse_port
        self._servers = []
        self._asked = socket.socket(socket.AF_UNIX)
        self._asked.bind(path)
        self._asked.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection = self._asked.accept()[0]
            except OSError:
                return
            with connection:
                self._take(int(connection.makefile().readline()))
                connection.sendall(b"taken")

    def _take(self, port):
        """Waits until the port is free, and listens on it."""
        self._servers.append(wait_until(lambda: self._server_at(port)))
        self.ports.append(port)

    def _server_at(self, port):
        options = [("grpc.so_reuseport", self._reuse_port)]
        server = grpc.server(futures.ThreadPoolExecutor(4), options=options)
        server.add_generic_rpc_handlers((Recorder(self.seen),))
        try:
            if server.add_insecure_port(f"127.0.0.1:{port}") != port:
                return None
        except RuntimeError:  # newer versions of gRPC raise
            return None
        server.start()
        return server

    def close(self):
        self._asked.shutdown(socket.SHUT_RDWR)
        self._asked.close()
        for server in self._servers:
            server.stop(None)


class Recorder(grpc.GenericRpcHandler):
    """Records each RPC, and gives the most credible answers."""

    def __init__(self, seen):
        self._seen = seen

    def service(self, details):
        method, metadata = details.method, dict(details.invocation_metadata)

        def answer(request, context):
            self._seen.append((method, metadata, request))
            healthy = b"\x08\x01"  # HealthResponse.healthy; ExecuteResponse.success
            return b"" if method.endswith("GetInfo") else healthy

        return grpc.unary_unary_rpc_method_handler(answer)


class IntruderTestCase(HostileTestCase):
    def intruder(self, reuse_port=0):
        intruder = Intruder(self.path("intruder.sock"), reuse_port)
        self.addCleanup(intruder.close)
        self.environment = {"HOSTILE_INTRUDER": self.path("intruder.sock")}
        return intruder

    def assert_saw_nothing(self, intruder):
        """Checks that no RPC came: the first one has the token."""
        self.assertTrue(intruder.ports)
        self.assertEqual([], intruder.seen)


class PortTest(IntruderTestCase):
    def test_an_intruder_that_takes_the_port_first_sees_nothing(self):
        intruder = self.intruder()
        for number in range(1, 4):
            host = self.host()
            outcome = host.start(
                "port-taken",
                *("--port", "{port}"),
                transport="grpc",
                environment=self.environment,
                start_timeout_ms=START_MS,
            )
            self.assertEqual(number, len(intruder.ports))
            if outcome["ok"]:  # then the arguments of calls would go there, too
                host.call("echo", args={"secret": SECRET}, timeout_ms=2000)
            self.assert_saw_nothing(intruder)
            self.assertEqual("START_FAILED", outcome["code"])
            self.assertIn(str(intruder.ports[-1]), outcome["message"])
            self.assertLess(outcome["ms"], START_MS + 5000)

    def test_an_intruder_that_shares_the_port_sees_nothing(self):
        # The kernel gives each listener a part of the connections.
        intruder = self.intruder(reuse_port=1)
        for _ in range(6):
            host = self.host()
            outcome = host.start(
                "port-shared",
                *("--port", "{port}"),
                transport="grpc",
                environment=self.environment,
                start_timeout_ms=START_MS,
            )
            for _ in range(3 * outcome["ok"]):
                host.call("echo", args={"secret": SECRET}, timeout_ms=1000)
            host.shutdown()
        self.assert_saw_nothing(intruder)

    def test_an_intruder_that_takes_the_port_later_sees_nothing(self):
        intruder = self.intruder()
        host = self.host()
        outcome = host.start(
            "gives-port-away",
            *("--port", "{port}"),
            transport="grpc",
            workers=2,
            environment=self.environment,
        )
        self.assertTrue(outcome["ok"], outcome)
        attack = host.begin("attack", timeout_ms=20000)
        self.assertEqual("away", self.noted("given"))
        calls = [
            host.begin("echo", args={"secret": SECRET}, timeout_ms=5000, queue_timeout_ms=5000)
            for _ in range(40)
        ]
        for call in calls:
            host.end(call)
        self.assertFalse(host.end(attack)["ok"])
        host.health(0)
        host.health(1)
        self.assert_saw_nothing(intruder)

    def test_an_intruder_sees_nothing_when_a_connection_ends(self):
        intruder = self.intruder(reuse_port=1)
        host = self.host()
        outcome = host.start(
            "connections-grow-old",
            *("--port", "{port}"),
            transport="grpc",
            environment=self.environment,
        )
        self.assertTrue(outcome["ok"], outcome)
        wait_until(lambda: host.call("attack", timeout_ms=5000)["ok"])
        self.assertTrue(intruder.ports)
        end = time.monotonic() + 6  # about twenty connections of a client that connects anew
        while time.monotonic() < end:
            host.call("echo", args={"secret": SECRET}, timeout_ms=1000, queue_timeout_ms=1000)
        self.assert_saw_nothing(intruder)

    def test_a_foreign_socket_that_is_announced_sees_nothing(self):
        seen = []
        server = grpc.server(futures.ThreadPoolExecutor(4))
        server.add_generic_rpc_handlers((Recorder(seen),))
        server.add_insecure_port("unix:" + self.path("foreign.sock"))
        server.start()
        self.addCleanup(lambda: server.stop(None).wait())
        host = self.host()
        outcome = host.start("foreign-socket", transport="grpc", start_timeout_ms=START_MS)
        if outcome["ok"]:
            host.call("echo", args={"secret": SECRET}, timeout_ms=1000)
        self.assertEqual([], seen)
        self.assertFalse(outcome["ok"])


class RuntimeFolderTest(HostileTestCase):
    def base(self, mode, owner=None):
        """A folder for TMPDIR."""
        base = tempfile.mkdtemp(dir=self.folder)
        os.chmod(base, mode)
        if owner is not None:
            try:
                os.chown(base, owner, owner)
            except OSError as error:  # not root, or in a namespace of one user
                self.skipTest(f"no folder can be given to another user: {error}")
        return base

    def assert_unused(self, base):
        """Checks that the folder has no socket of the pool, which says why or works elsewhere."""
        os.chmod(self.folder, 0o755)
        host = self.host(TMPDIR=base)
        outcome = host.start(
            "no-fault", "--socket", "{socket}", transport="grpc", start_timeout_ms=20000
        )
        self.assertEqual([], os.listdir(base))
        if not outcome["ok"]:
            self.assertIn(base, outcome["message"])
        host.shutdown()

    def test_a_base_that_all_can_write_is_not_used(self):
        self.assert_unused(self.base(0o777))
        self.assert_unused(self.base(0o770))

    def test_a_base_of_another_user_is_not_used(self):
        self.assert_unused(self.base(0o700, owner=NOBODY))
        self.assert_unused(self.base(0o1777, owner=NOBODY))

    def test_a_base_below_a_folder_of_another_user_is_not_used(self):
        parent = self.base(0o755, owner=NOBODY)
        base = os.path.join(parent, "base")
        os.mkdir(base, 0o700)
        self.assert_unused(base)

    def test_a_base_that_is_safe_is_used(self):
        for base in (self.base(0o700), self.base(0o1777)):
            host = self.host(TMPDIR=base)
            outcome = host.start("no-fault", "--socket", "{socket}", transport="grpc")
            self.assertTrue(outcome["ok"], outcome)
            [folder] = [name for name in os.listdir(base) if name.startswith("snakepit-")]
            self.assertEqual(0o700, os.stat(os.path.join(base, folder)).st_mode & 0o7777)
            host.shutdown()
            self.assertIsNotNone(wait_until(lambda: not os.listdir(base)), os.listdir(base))

    def test_its_name_may_have_characters_of_a_uri(self):
        for name in ("per%41cent", "ha#sh", "ques?tion", "blank blank"):
            base = os.path.join(self.folder, name)
            os.mkdir(base)
            host = self.host(TMPDIR=base)
            outcome = host.start("no-fault", transport="grpc", start_timeout_ms=START_MS)
            self.assertTrue(outcome["ok"], outcome)
            self.run_bundled(base)

    def run_bundled(self, base):
        ended = subprocess.run(
            [SNAKEPIT, "exec", "ping", "--transport", "grpc", "--start-timeout", "10s"],
            capture_output=True,
            timeout=LIMIT_S,
            env={**os.environ, "TMPDIR": base},
        )
        self.assertEqual(0, ended.returncode, ended.stderr)


class WorkingFolderTest(HostileTestCase):
    def test_modules_in_it_are_not_run(self):
        marker = self.path("it ran")
        work = self.path("cloned")
        os.mkdir(work)
        for name in ("msgpack", "json", "grpc", "snakepit_bridge", "sitecustomize", "socket"):
            with open(os.path.join(work, name + ".py"), "w", encoding="utf-8") as file:
                file.write(f"open({marker!r}, 'a').write({name!r} + '\\n')\nraise SystemExit(7)\n")
        for transport in ("stdio", "grpc"):
            for python_path in (None, "", ":"):
                environment = {**os.environ, "TMPDIR": self.folder}
                environment.pop("PYTHONPATH", None)
                if python_path is not None:
                    environment["PYTHONPATH"] = python_path
                ended = subprocess.run(
                    [SNAKEPIT, "exec", "ping", "--transport", transport],
                    cwd=work,
                    capture_output=True,
                    timeout=LIMIT_S,
                    env=environment,
                )
                self.assertFalse(os.path.exists(marker), (transport, python_path))
                self.assertEqual(0, ended.returncode, ended.stderr)


if __name__ == "__main__":
    unittest.main()
