"""Frames on a pair of descriptors. PROTOCOL.md 2.1.

A frame is a length, 4 bytes big-endian, and as many bytes of payload.
"""

import os
import select
import time

_BUFFER_BYTES = 1 << 16
# A large payload's memory grows with what has arrived, not with what a length claims.
_GROWTH_BYTES = 1 << 20
# How long a read may poll before it blocks: less than waking a sleeping core takes.
SPIN_NS = 30_000


class OversizedFrame(Exception):
    """A frame's length is over the limit: what follows cannot be read in step."""


class TruncatedFrame(Exception):
    """The connection ended within a frame."""


class FrameReader:
    """Reads frames from a descriptor. One thread at a time, whichever.

    start, end: where what has been read ahead is; the same when nothing has.
    """

    def __init__(self, fd, max_frame_bytes, spin):
        """spin: whether to poll shortly for what comes soon; pays on two cores only."""
        self._fd = fd
        self._max_frame_bytes = max_frame_bytes
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self.start = self.end = 0
        self._spin = spin
        self._quick = False
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def read(self):
        """The payload of the next frame, bytes or a bytearray; None at a clean end.

        Raises OversizedFrame, TruncatedFrame or OSError.
        """
        if self.end - self.start < 4 and not self._fill(4):
            return None
        start = self.start + 4
        length = int.from_bytes(self._buffer[self.start : start], "big")
        if length > self._max_frame_bytes:
            raise OversizedFrame(
                f"frame length {length} is over the limit of {self._max_frame_bytes}"
            )
        if length + 4 > _BUFFER_BYTES:
            return self._read_large(length)
        if self.end - start < length:
            self._fill(length + 4)
            start = self.start + 4
        self.start = start + length
        return bytes(self._buffer[start : start + length])

    def _fill(self, needed):
        """Reads until so many bytes are in the buffer; False at a clean end."""
        began_ns = None
        if self.start == self.end:
            self.start = self.end = 0
            if self._spin:
                began_ns = time.perf_counter_ns()
                if self._quick:
                    self._poll_until(began_ns + SPIN_NS)
        elif self.start + needed > _BUFFER_BYTES:
            rest = bytes(self._buffer[self.start : self.end])
            self._buffer[: len(rest)] = rest
            self.start, self.end = 0, len(rest)
        while self.end - self.start < needed:
            count = os.readv(self._fd, [self._buffer[self.end :]])
            if count == 0:
                if self.end == self.start:
                    return False
                raise TruncatedFrame("the connection ended within a frame")
            self.end += count
            if began_ns is not None:
                self._quick = time.perf_counter_ns() - began_ns <= SPIN_NS
                began_ns = None
        return True

    def _poll_until(self, until_ns):
        # Only while the frame before came within SPIN_NS of being waited for, so an
        # idle worker sleeps, and so does one whose caller takes its time. Measured for
        # an echo of 64 B, this takes a quarter to a half off the round trip, whatever
        # the caller does.
        poll, now_ns = self._poll.poll, time.perf_counter_ns
        while not poll(0) and now_ns() < until_ns:
            pass

    def _read_large(self, length):
        payload = bytearray(self._buffer[self.start + 4 : self.end])
        self.start = self.end = 0
        filled = len(payload)
        while filled < length:
            if filled == len(payload):
                payload.extend(bytes(min(length - filled, max(_GROWTH_BYTES, filled))))
            with memoryview(payload) as view:
                count = os.readv(self._fd, [view[filled:]])
            if count == 0:
                raise TruncatedFrame("the connection ended within a frame")
            filled += count
        return payload


def write_frame(fd, payload):
    """Writes one frame, in one system call where the descriptor takes it."""
    header = len(payload).to_bytes(4, "big")
    if len(payload) < _BUFFER_BYTES:
        frame = header + payload
        written = os.write(fd, frame)
        if written == len(frame):
            return
        rest = memoryview(frame)[written:]
    else:
        written = os.writev(fd, [header, payload])
        if written < 4:
            rest = memoryview(header + payload)[written:]
        else:
            rest = memoryview(payload)[written - 4 :]
    while rest:
        rest = rest[os.write(fd, rest) :]
