"""A connection over stdio in version 1: one request, then its reply. PROTOCOL.md 2."""

import time

from .calls import HANDLER_FAILED, INVALID_ARGUMENT, MESSAGE_TOO_LARGE, CallError, printable
from .frames import OversizedFrame
from .values import DecodeError, EncodeError

MAX_ID = (1 << 53) - 1
BAD_ID = "the id of a request must be an integer from 1 to 2^53 - 1"


class LegacyConversation:
    """Reads, executes and answers requests one by one, on one thread."""

    def __init__(self, worker, connection, codec):
        self._worker = worker
        self._connection = connection
        self._codec = codec
        self._timestamp = Timestamp()

    def run(self):
        """Answers frames until the input ends or the worker is told to stop."""
        connection = self._connection
        while not connection.stopping:
            frame = self.read()
            if frame is None:
                return
            connection.busy = True
            self.take(frame)
            connection.busy = False

    def read(self):
        """The next frame; None at the end. An oversized frame is answered before the raise."""
        try:
            return self._connection.reader.read()
        except OversizedFrame as error:
            self._fail(None, str(error))
            raise

    def take(self, frame):
        """Executes a request. True if the frame is one; any frame is answered."""
        try:
            message = self._codec.decode(frame)
        except DecodeError as error:
            self._fail(answerable(error.request_id), not_decoded(frame, self._codec, error))
            return False
        if type(message) is not dict:
            self._fail(None, f"a message must be a map, not {type(message).__name__}")
            return False
        try:
            request = read_request(message)
        except CallError as error:
            self._fail(answerable(message.get("id")), error.text)
            return False
        self._execute(*request)
        return True

    def _execute(self, request_id, command, args):
        context = self._worker.context(request_id)
        try:
            result = self._worker.registry.call(command, args, context)
            payload = self._encode(
                {
                    "id": request_id,
                    "success": True,
                    "result": result,
                    "timestamp": self._timestamp.now(),
                }
            )
        except CallError as error:
            self._worker.count(False)
            self._fail(request_id, error.text)
            return
        self._worker.count(True)
        self._connection.write(payload)

    def _encode(self, message):
        try:
            payload = self._codec.encode(message)
        except EncodeError as error:
            raise cannot_encode(error) from None
        check_size(payload, self._connection.max_frame_bytes)
        return payload

    def _fail(self, request_id, text):
        self._connection.write(
            self._codec.encode(
                {
                    "id": request_id,
                    "success": False,
                    "error": cut(text, self._connection.max_frame_bytes),
                    "timestamp": self._timestamp.now(),
                }
            )
        )


def read_request(message):
    """The (id, command, args) of a request. Raises CallError."""
    request_id, command = message.get("id"), message.get("command")
    if type(request_id) is not int or not 0 < request_id <= MAX_ID:
        raise CallError(INVALID_ARGUMENT, BAD_ID, True)
    if type(command) is not str:
        raise CallError(INVALID_ARGUMENT, "the command of a request must be a text", True)
    args = message.get("args")
    if type(args) is not dict:
        if args is not None:
            raise CallError(INVALID_ARGUMENT, "the args of a request must be a map", True)
        args = {}
    return request_id, command, args


def is_id(value):
    """True if the value can be the id of a request. PROTOCOL.md 2.3.1."""
    return type(value) is int and 0 < value <= MAX_ID


def cut(text, limit):
    """The text of an error, cut to fit a message of that many bytes in any encoding."""
    return text[: limit // 8]


def answerable(request_id):
    """The id for the answer to an invalid request: the given id if it is an int64, else None."""
    return request_id if is_int64(request_id) else None


def is_int64(value):
    """True if the value is an integer that every codec and peer can hold."""
    return type(value) is int and -(1 << 63) <= value < 1 << 63


def not_decoded(frame, codec, error):
    """The text of the error for a payload that cannot be decoded."""
    if error.is_too_large:
        return printable(error)
    return (
        f"malformed message: invalid {codec.shown_name}: {printable(error)},"
        f" in a frame of {len(frame)} bytes"
    )


def cannot_encode(error):
    """The CallError for a result or chunk that cannot be encoded."""
    return CallError(HANDLER_FAILED, f"the result cannot be encoded: {printable(error)}")


def check_size(payload, limit):
    """Raises CallError if the payload has more bytes than the limit."""
    if len(payload) > limit:
        raise CallError(
            MESSAGE_TOO_LARGE,
            f"a result of {len(payload)} bytes is over the frame limit of {limit}",
        )


class Timestamp:
    """The current time as ISO 8601 in UTC. Not thread-safe."""

    def __init__(self):
        self._second = 0
        self._second_text = ""

    def now(self):
        """The current time as a text, to the microsecond."""
        second, nanosecond = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{nanosecond // 1000:06d}Z"
