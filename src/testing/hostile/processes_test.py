"""A worker that refuses to end is killed, or a new one takes its place."""

import unittest

from pool_host import HostileTestCase, wait_until


class ProcessesTest(HostileTestCase):
    def seat_is_used_again(self, host, pid):
        """Waits until the worker is another process."""

        def is_served():
            ready = [worker for worker in host.workers() if worker["state"] == "ready"]
            return len(ready) == 2 and pid not in [worker["pid"] for worker in ready]

        self.assertIsNotNone(wait_until(is_served, 40), host.workers())

    def attacked(self, behaviour):
        """A host, and the pid of the worker whose call is over its deadline."""
        host = self.started(behaviour, workers=2, stop_grace_ms=500, cancel_grace_ms=500)
        attack = host.begin("attack", timeout_ms=1000)
        with self.others_are_served(host):
            end = host.end(attack)
        self.assertEqual("DEADLINE_EXCEEDED", end["code"])
        self.assertLess(end["ms"], 2000)
        return host

    def test_a_worker_in_another_group_is_killed(self):
        host = self.attacked("other-group")
        pid = int(self.noted("moved"))
        with self.others_are_served(host):
            self.seat_is_used_again(host, pid)
        self.assertIsNotNone(wait_until(lambda: pid not in host.left()))
        self.assertLess(host.shutdown()["ms"], 10000)
        self.assertIsNotNone(wait_until(lambda: not host.left()), host.left())

    def test_a_worker_that_its_child_traces_is_killed_or_given_up(self):
        host = self.attacked("traced-by-its-child")
        attached = self.noted("attached")
        if attached.startswith("failed"):
            self.skipTest("this system lets no process trace its parent")
        with self.others_are_served(host):
            self.seat_is_used_again(host, int(attached))
        if int(attached) in host.left():
            self.assertTrue([line for line in host.log() if attached in line], host.log())
        self.assertLess(host.shutdown()["ms"], 25000)
        self.assertIsNotNone(wait_until(lambda: not host.left()), host.left())

    def test_children_end_with_their_worker(self):
        host = self.started("leaves-children", workers=2)
        with self.keeps_descriptors_and_threads(host):
            end = host.call("attack", args={"die": True})
            self.assertEqual("WORKER_LOST", end["code"])
            children = [int(pid) for pid in self.noted("children").split()]
            self.assertIsNotNone(
                wait_until(lambda: not set(children) & set(host.left())), host.left()
            )
            with self.others_are_served(host):
                pass

    def test_children_end_with_the_pool(self):
        host = self.started("leaves-children", workers=2)
        self.assertTrue(host.call("attack")["ok"])
        children = [int(pid) for pid in self.noted("children").split()]
        self.assertEqual(set(children), set(children) & set(host.left()))
        self.assertLess(host.shutdown()["ms"], 10000)
        self.assertIsNotNone(wait_until(lambda: not host.left()), host.left())

    def test_children_end_with_a_host_that_is_killed(self):
        for behaviour in ("leaves-children", "other-group"):
            host = self.started(behaviour, workers=2)
            host.begin("attack", timeout_ms=60000)
            self.noted("children" if behaviour == "leaves-children" else "moved")
            host.kill()
            self.assertIsNotNone(wait_until(lambda: not host.left()), host.left())

    def test_a_worker_that_obeys_no_signal_is_killed(self):
        host = self.attacked("never-reads")
        with self.others_are_served(host):
            killed = wait_until(lambda: sum(w["restarts"] for w in host.workers()) == 1)
        self.assertTrue(killed)


if __name__ == "__main__":
    unittest.main()
