"""Serves a worker over stdin and stdout. PROTOCOL.md 2, 3 and 6."""

import os
import signal
import sys
from _thread import allocate_lock

from . import forked
from .budget import decoded_limit
from .calls import printable
from .descriptors import take_stdio
from .frames import FrameReader, OversizedFrame, TruncatedFrame, write_frame
from .handshake import NoAgreement, agree
from .stdio_calls import Calls
from .stdio_legacy import LegacyConversation, Timestamp
from .values import DecodeError, JsonCodec, MessagePackCodec

# Time for calls in flight to end after SIGTERM, in seconds.
DRAIN_LIMIT_S = 2.0


def serve(worker, options):
    """Serves until the pool ends the worker; returns the exit status."""
    fds = take_stdio()
    for fd in fds:
        os.set_blocking(fd, True)
    connection = Connection(*fds, options.max_frame_bytes)
    # A forked child that lives on must not keep the connection open.
    forked.prepare(lambda: [os.close(fd) for fd in fds])
    # A terminal's ^C is for the pool. This is a handler, since children would inherit SIG_IGN.
    forked.handle(signal.SIGINT, lambda *_: None)
    forked.handle(signal.SIGTERM, connection.on_terminate)
    try:
        _serve(worker, connection)
        return 0
    except _Terminated:
        return 0
    except _Fatal as error:
        print(f"{worker.name}: {error}", file=sys.stderr)
    except (OSError, OversizedFrame, TruncatedFrame) as error:
        print(f"{worker.name}: stdio: {error}", file=sys.stderr)
    return 1


class _Terminated(BaseException):
    """SIGTERM came while no call was in flight."""


class _Fatal(Exception):
    """The worker cannot go on, and the pool has been told."""


class Connection:
    """The frames in both directions, and the state that SIGTERM looks at.

    reader: a FrameReader.
    busy: True while the main thread does more than wait for a frame.
    stopping: True if the worker is to end as soon as its calls have ended.
    """

    def __init__(self, input_fd, output_fd, max_frame_bytes):
        self.input_fd = input_fd
        self.max_frame_bytes = max_frame_bytes
        self.reader = FrameReader(input_fd, max_frame_bytes, spin=len(os.sched_getaffinity(0)) > 1)
        self._write_lock = allocate_lock()
        self._output_fd = output_fd
        self.busy = False
        self.stopping = False

    def write(self, payload):
        """Writes a frame. Thread-safe. Raises OSError."""
        with self._write_lock:
            write_frame(self._output_fd, payload)

    def write_if(self, check, payload):
        """Same as write(), but calls check() once it is this thread's turn; check() may raise."""
        with self._write_lock:
            check()
            write_frame(self._output_fd, payload)

    def on_terminate(self, *_):
        """Handles SIGTERM: an idle worker exits at once, a busy one after its calls."""
        if not self.busy:
            raise _Terminated
        self.stopping = True
        forked.handle(signal.SIGALRM, lambda *_: os._exit(0))
        signal.setitimer(signal.ITIMER_REAL, DRAIN_LIMIT_S)


def _serve(worker, connection):
    """Agrees with the pool on version and codec, and serves until the end."""
    max_decoded_bytes = decoded_limit(connection.max_frame_bytes)
    json_codec = JsonCodec(max_decoded_bytes)
    while not connection.stopping:
        # Until the version is settled, the pool gets version 1 in the codec of its frame.
        frame = LegacyConversation(worker, connection, json_codec).read()
        if frame is None:
            return
        legacy = LegacyConversation(worker, connection, _codec_of(frame, max_decoded_bytes))
        offer = _offer(frame, json_codec)
        if offer is not None:
            agreement = _answer(worker, connection, offer)
            if agreement.version == 2:
                Calls(worker, connection, agreement).serve()
            else:
                LegacyConversation(worker, connection, agreement.codec).run()
            return
        connection.busy = True
        is_request = legacy.take(frame)
        connection.busy = False
        if is_request:  # a request settles the version
            legacy.run()
            return


def _codec_of(frame, max_decoded_bytes):
    """The codec of a first frame. PROTOCOL.md 3.1.6."""
    if len(frame) > 0 and (frame[0] & 0xF0 == 0x80 or frame[0] in (0xDE, 0xDF)):
        try:
            return MessagePackCodec(max_decoded_bytes)
        except ImportError:  # its package is not installed
            pass
    return JsonCodec(max_decoded_bytes)


def _offer(frame, json_codec):
    """The offer in a first frame; None if it is no negotiation. PROTOCOL.md 3.1.8."""
    try:
        message = json_codec.decode(frame)
    except DecodeError:
        return None
    is_one = type(message) is dict and message.get("type") == "protocol_negotiation"
    return message if is_one else None


def _answer(worker, connection, offer):
    timestamp = Timestamp()
    try:
        agreement, answer = agree(offer, worker, connection.max_frame_bytes)
        answer["timestamp"] = timestamp.now()
        connection.write(JsonCodec().encode(answer))
        return agreement
    except NoAgreement as error:
        problem = printable(error)
        answer = {"type": "protocol_error", "error": problem, "timestamp": timestamp.now()}
        connection.write(JsonCodec().encode(answer))
        raise _Fatal(problem) from None
