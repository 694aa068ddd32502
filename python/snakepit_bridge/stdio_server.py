"""Serves a worker over stdin and stdout. PROTOCOL.md 2 and 3."""

import os
import signal
import sys
import time

from .calls import (
    HANDLER_FAILED,
    INVALID_ARGUMENT,
    MESSAGE_TOO_LARGE,
    CallError,
    printable,
)
from .descriptors import take_stdio
from .frames import FrameReader, OversizedFrame, TruncatedFrame, write_frame
from .registry import NO_CHUNK
from .values import MAX_INT, EncodeError, JsonCodec, MessagePackCodec

# After SIGTERM, a call in progress has so long to end.
DRAIN_LIMIT_S = 2.0

_FEATURES = ("stream", "session")


def serve(worker, options):
    """Serves until the pool ends it; returns the exit status."""
    fds = take_stdio()
    for fd in fds:
        os.set_blocking(fd, True)
    server = _Server(worker, *fds, options.max_frame_bytes)
    # A terminal's ^C is the pool's to judge. A handler, since children inherit SIG_IGN.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, server.on_terminate)
    try:
        server.run()
        return 0
    except _Terminated:
        return 0
    except _Fatal as error:
        print(f"{worker.name}: {error}", file=sys.stderr)
    except (OSError, TruncatedFrame) as error:
        print(f"{worker.name}: stdio: {error}", file=sys.stderr)
    return 1


class _Terminated(BaseException):
    """SIGTERM came while no call was in progress."""


class _Fatal(Exception):
    """The worker cannot go on; the pool has been told."""


class _Server:
    """One connection. The opening frame fixes the codec and the version."""

    def __init__(self, worker, input_fd, output_fd, max_frame_bytes):
        self._worker = worker
        self._output_fd = output_fd
        self._max_frame_bytes = max_frame_bytes
        self._reader = FrameReader(
            input_fd, max_frame_bytes, spin=len(os.sched_getaffinity(0)) > 1
        )
        self._codec = JsonCodec()
        self._open = False  # whether the codec and the version are settled
        self._version = 1
        self._features = frozenset()
        self._busy = False
        self._stopping = False
        self._second = 0
        self._second_text = ""

    def run(self):
        """Answers frames until the connection ends or the worker is told to stop."""
        while not self._stopping:
            try:
                frame = self._reader.read()
            except OversizedFrame as error:
                self._send_error(None, CallError(INVALID_ARGUMENT, str(error)))
                raise _Fatal(error) from None
            if frame is None:
                return
            self._busy = True
            self._handle(frame)
            self._busy = False

    def on_terminate(self, *_):
        """On SIGTERM: an idle worker exits at once, a busy one after the call."""
        if not self._busy:
            raise _Terminated
        self._stopping = True
        signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
        signal.setitimer(signal.ITIMER_REAL, DRAIN_LIMIT_S)

    def _handle(self, frame):
        try:
            if not self._open:
                message = self._decode_first(frame)
                if message is None:
                    return
            else:
                message = self._codec.decode(frame)
        except (ValueError, RecursionError, ImportError) as error:
            self._send_error(
                self._salvaged_id(frame),
                CallError(
                    INVALID_ARGUMENT,
                    f"a frame of {len(frame)} bytes is no {self._codec.name} message:"
                    f" {printable(error)}",
                ),
            )
            return
        if type(message) is not dict:
            self._refuse(None, f"a message is a map, not {type(message).__name__}")
            return
        request_id = message.get("id")
        if type(request_id) is not int or not 0 < request_id <= MAX_INT:
            self._refuse(request_id, "the id of a request is an integer over 0")
            return
        command = message.get("command")
        if type(command) is not str:
            self._refuse(request_id, "the command of a request is a text")
            return
        args = message.get("args")
        if type(args) is not dict:
            if args is not None:
                self._refuse(request_id, "the args of a request are a map")
                return
            args = {}
        self._execute(request_id, command, args, message)

    def _execute(self, request_id, command, args, message):
        session_id, timeout_ms, stream = None, 0, False
        if self._version >= 2:
            timeout_ms = message.get("timeout_ms") or 0
            if type(timeout_ms) is not int:
                self._refuse(request_id, "timeout_ms is an integer")
                return
            if "session" in self._features:
                session_id = message.get("session_id")
                if session_id is not None and (
                    type(session_id) is not str or not session_id
                ):
                    self._refuse(request_id, "session_id is a text that is not empty")
                    return
            stream = message.get("stream") is True and "stream" in self._features
        context = self._worker.context(request_id, session_id, timeout_ms)
        if stream:
            self._stream(request_id, command, args, context)
            return
        try:
            result = self._worker.registry.call(command, args, context)
            payload = self._encode(
                {
                    "id": request_id,
                    "success": True,
                    "result": result,
                    "timestamp": self._timestamp(),
                }
            )
        except CallError as error:
            self._worker.count(False)
            self._send_error(request_id, error)
            return
        self._worker.count(True)
        write_frame(self._output_fd, payload)

    def _stream(self, request_id, command, args, context):
        index = 0
        chunks = self._worker.registry.stream(command, args, context)
        try:
            for chunk, final in chunks:
                message = {
                    "id": request_id,
                    "type": "chunk",
                    "index": index,
                    "final": final,
                    "timestamp": self._timestamp(),
                }
                if chunk is not NO_CHUNK:
                    message["chunk"] = chunk
                payload = self._encode(message)
                if final:
                    self._worker.count(True)
                write_frame(self._output_fd, payload)
                index += 1
        except CallError as error:
            self._worker.count(False)
            self._send(
                {
                    "id": request_id,
                    "type": "chunk",
                    "index": index,
                    "final": True,
                    "success": False,
                    "error": error.text,
                    "code": error.code,
                    "timestamp": self._timestamp(),
                }
            )
        finally:
            chunks.close()

    def _encode(self, message):
        try:
            payload = self._codec.encode(message)
        except EncodeError as error:
            raise CallError(
                HANDLER_FAILED, f"the result cannot be encoded: {printable(error)}"
            ) from None
        if len(payload) > self._max_frame_bytes:
            raise CallError(
                MESSAGE_TOO_LARGE,
                f"a result of {len(payload)} bytes is over the frame limit of"
                f" {self._max_frame_bytes}",
            )
        return payload

    def _send(self, message):
        write_frame(self._output_fd, self._codec.encode(message))

    def _send_error(self, request_id, error):
        message = {
            "id": request_id,
            "success": False,
            "error": error.text,
            "timestamp": self._timestamp(),
        }
        if self._version >= 2:
            message["code"] = error.code
        self._send(message)

    def _refuse(self, request_id, problem):
        """Answers what is no request, with its id if that is an integer."""
        if type(request_id) is not int or not 0 <= abs(request_id) <= MAX_INT // 2:
            request_id = None
        self._send_error(request_id, CallError(INVALID_ARGUMENT, problem))

    def _salvaged_id(self, frame):
        """The id within a frame that is MessagePack, but not as the protocol has it."""
        if self._codec.name != "msgpack":
            return None
        import msgpack

        try:
            message = msgpack.unpackb(frame, raw=True, strict_map_key=False)
            request_id = message.get(b"id")
        except Exception:  # nothing to be read: there is no id
            return None
        return request_id if type(request_id) is int and request_id > 0 else None

    # The opening frame.

    def _decode_first(self, frame):
        """The request in the opening frame; None after a negotiation, now answered.

        A negotiation is always JSON. A request sent first, without one, is answered,
        and its codec is the connection's.
        """
        if len(frame) > 0 and _is_message_pack_map(frame[0]):
            codec = MessagePackCodec()
            message = codec.decode(frame)
        else:
            codec = self._codec
            message = codec.decode(frame)
            if type(message) is not dict:
                return message
            if message.get("type") == "protocol_negotiation":
                self._negotiate(message)
                self._open = True
                return None
        self._codec = codec
        self._open = True
        return message

    def _negotiate(self, message):
        offered = message.get("supported")
        offered = offered if type(offered) is list else []
        preferred = message.get("preferred")
        wanted = [preferred] if preferred in offered else []
        codec = None
        for name in wanted + offered:
            codec = _codec(name)
            if codec is not None:
                break
        if codec is None:
            served = [name for name in ("msgpack", "json") if _codec(name)]
            problem = f"no common codec: the pool offers {offered}, the worker {served}"
            self._send(
                {
                    "type": "protocol_error",
                    "error": printable(problem),
                    "timestamp": self._timestamp(),
                }
            )
            raise _Fatal(problem)
        answer = {
            "type": "protocol_selected",
            "protocol": codec.name,
            "timestamp": self._timestamp(),
        }
        version = message.get("version")
        if type(version) is int and version >= 2:
            features = message.get("features")
            features = features if type(features) is list else []
            self._version = 2
            self._features = frozenset(f for f in _FEATURES if f in features)
            answer["version"] = 2
            answer["features"] = [f for f in _FEATURES if f in features]
            answer["worker_id"] = self._worker.worker_id
        self._send(answer)
        self._codec = codec

    def _timestamp(self):
        """Now, as ISO 8601 in UTC."""
        second, nanosecond = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{nanosecond // 1000:06d}Z"


def _is_message_pack_map(byte):
    return byte & 0xF0 == 0x80 or byte in (0xDE, 0xDF)


def _codec(name):
    if name == "json":
        return JsonCodec()
    if name == "msgpack":
        try:
            return MessagePackCodec()
        except ImportError:
            pass
    return None
