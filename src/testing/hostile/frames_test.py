"""Wrong frames of a worker cost the pool bounded memory and time, and no other call."""

import unittest

from pool_host import MIB, HostileTestCase

# Room for frames that are being read, and for the allocator.
FRAME_MIB = 64
# The default of Adapter::max_decoded_bytes, and the allocator's share in small blocks.
DECODED_MIB = 512 * 1.5
# Bytes that a parser needs for each byte of JSON with small values.
PARSED = 12


class LengthsTest(HostileTestCase):
    def test_a_claimed_length_takes_no_memory(self):
        for length in (0xFFFFFFFF, 0x7FFFFFFF, 2**31 - 2):
            host = self.started("claims", workers=2, max_frame_bytes=2**31 - 1)
            with self.grows_at_most(16, host), self.keeps_descriptors_and_threads(host):
                end = host.call("attack", args={"length": length}, timeout_ms=1000)
                self.assertIn(end["code"], ("PROTOCOL_ERROR", "DEADLINE_EXCEEDED"))
                self.assertLess(end["ms"], 2000)
                with self.others_are_served(host):
                    pass
            host.shutdown()

    def test_a_reply_that_dribbles_ends_at_the_deadline(self):
        host = self.started("dribbles", workers=2)
        with self.grows_at_most(16, host), self.keeps_descriptors_and_threads(host):
            attack = host.begin("attack", timeout_ms=1500)
            with self.others_are_served(host):
                end = host.end(attack)
            self.assertEqual("DEADLINE_EXCEEDED", end["code"])
            self.assertLess(end["ms"], 2500)

    def test_a_worker_that_does_not_read_holds_up_nobody(self):
        host = self.started("never-reads-what-follows", "--restarted", workers=1)
        self.assertTrue(host.call("attack")["ok"])
        for execute in (False, True):
            end = host.call("echo", fill_bytes=32 * MIB, timeout_ms=1000, execute=execute)
            self.assertEqual("DEADLINE_EXCEEDED", end["code"])
            self.assertLess(end["ms"], 3000)
        # The worker was replaced.
        self.assertTrue(host.call("echo", queue_timeout_ms=20000)["ok"])
        self.assertLess(host.shutdown()["ms"], 8000)

    def test_endless_replies_for_no_call_take_no_memory(self):
        host = self.started("foreign-ids", workers=2)
        with self.grows_at_most(FRAME_MIB, host), self.keeps_descriptors_and_threads(host):
            self.assertTrue(host.call("attack")["ok"])
            served = 0
            for _ in range(300):
                end = host.call("echo", timeout_ms=2000)
                served += end["ok"]
                if not end["ok"]:  # the flooding worker had it
                    self.assertIn(end["code"], ("PROTOCOL_ERROR", "WORKER_LOST"), end)
            self.assertGreater(served, 200)
        self.assertLess(host.shutdown()["ms"], 8000)


class ElementsTest(HostileTestCase):
    def test_small_elements_are_refused_by_their_decoded_size(self):
        # 1 GiB in memory: an empty map is 1 byte of MessagePack, and 64 bytes of memory.
        for codec, parsed_mib in (("json", PARSED * 48), ("msgpack", 0)):
            host = self.started("elements", workers=2, codec=codec)
            with self.grows_at_most(DECODED_MIB + parsed_mib + FRAME_MIB, host):
                args = {"of": "maps", "count": 16 * MIB}
                attack = host.begin("attack", args=args, timeout_ms=20000)
                with self.others_are_served(host):
                    end = host.end(attack)
                self.assertEqual("MESSAGE_TOO_LARGE", end["code"], end)
                self.assertTrue(end["may_have_run"])
            self.assertTrue(host.call("echo")["ok"])  # either worker: the connection is in step
            self.assertTrue(host.call("echo")["ok"])

    def test_small_elements_are_refused_over_grpc_too(self):
        host = self.started("elements", "--socket", "{socket}", transport="grpc", workers=2)
        # gRPC also holds the message, in one piece and in slices.
        with self.grows_at_most(DECODED_MIB + 2 * FRAME_MIB, host):
            args = {"of": "maps", "count": 16 * MIB}
            attack = host.begin("attack", args=args, timeout_ms=20000)
            with self.others_are_served(host):
                end = host.end(attack)
            self.assertEqual("MESSAGE_TOO_LARGE", end["code"], end)

    def test_a_late_reply_is_skipped_and_not_decoded(self):
        # 448 MiB in memory: just accepted if a caller waited for it. In JSON the parser has to find
        # the id.
        for codec in ("json", "msgpack"):
            host = self.started("late-elements", workers=3, codec=codec)
            args = {"of": "maps", "count": 7 * MIB}
            parsed_mib = PARSED * 21 if codec == "json" else 0
            with (
                self.grows_at_most(FRAME_MIB + parsed_mib, host),
                self.keeps_descriptors_and_threads(host),
            ):
                for execute in (False, True):
                    attack = host.begin("attack", args=args, timeout_ms=300, execute=execute)
                    with self.others_are_served(host, timeout_ms=1000):
                        self.assertEqual("DEADLINE_EXCEEDED", host.end(attack)["code"])
                # All three workers serve again once the late replies are read.
                calls = [host.begin("echo", timeout_ms=20000) for _ in range(30)]
                self.assertTrue(all(host.end(call)["ok"] for call in calls))
            self.assertEqual([0, 0, 0], [worker["restarts"] for worker in host.workers()])

    def test_decoding_a_reply_does_not_outlast_the_deadline(self):
        for codec in ("json", "msgpack"):
            host = self.started("elements", workers=1, codec=codec, max_frame_bytes=256 * MIB)
            args = {"of": "nulls", "count": 30 * MIB}
            for execute in (False, True):
                end = host.call("attack", args=args, timeout_ms=250, execute=execute)
                if not end["ok"]:
                    self.assertIn(end["code"], ("DEADLINE_EXCEEDED", "MESSAGE_TOO_LARGE"))
                # The parser of JSON cannot be interrupted.
                self.assertLess(end["ms"], 3000, end)


if __name__ == "__main__":
    unittest.main()
