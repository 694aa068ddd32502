"""A connection over stdio in version 1: a request and its reply, in turn. PROTOCOL.md 2."""

import time

from .calls import HANDLER_FAILED, INVALID_ARGUMENT, MESSAGE_TOO_LARGE, CallError, printable
from .frames import OversizedFrame
from .values import DecodeError, EncodeError

MAX_ID = (1 << 53) - 1
BAD_ID = "the id of a request is an integer, 1 to 2^53 - 1"


class LegacyConversation:
    """Reads, executes and answers on one thread, as the frames come."""

    def __init__(self, worker, connection, codec):
        self._worker = worker
        self._connection = connection
        self._codec = codec
        self._timestamp = Timestamp()

    def run(self):
        """Answers frames until the connection ends or the worker is told to stop."""
        connection = self._connection
        while not connection.stopping:
            frame = self.read()
            if frame is None:
                return
            connection.busy = True
            self.take(frame)
            connection.busy = False

    def read(self):
        """The next frame, None at the end. One over the limit is answered, and raised."""
        try:
            return self._connection.reader.read()
        except OversizedFrame as error:
            self._fail(None, str(error))
            raise

    def take(self, frame):
        """Executes a request and answers it; False when the frame is none, which is answered."""
        try:
            message = self._codec.decode(frame)
        except DecodeError as error:
            self._fail(answerable(error.request_id), not_decoded(frame, self._codec, error))
            return False
        if type(message) is not dict:
            self._fail(None, f"a message is a map, not {type(message).__name__}")
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
        raise CallError(INVALID_ARGUMENT, "the command of a request is a text", True)
    args = message.get("args")
    if type(args) is not dict:
        if args is not None:
            raise CallError(INVALID_ARGUMENT, "the args of a request are a map", True)
        args = {}
    return request_id, command, args


def is_id(value):
    """Whether it can be the id of a request. PROTOCOL.md 2.3.1."""
    return type(value) is int and 0 < value <= MAX_ID


def cut(text, limit):
    """The text of an error, short enough for a message of so many bytes however it is written."""
    return text[: limit // 8]


def answerable(request_id):
    """The id with which to answer what is no request: an integer, or None."""
    return request_id if is_int64(request_id) else None


def is_int64(value):
    """Whether it is an integer that every codec and peer can hold."""
    return type(value) is int and -(1 << 63) <= value < 1 << 63


def not_decoded(frame, codec, error):
    """Says that a payload is no message."""
    if error.is_too_large:
        return printable(error)
    return (
        f"malformed message: invalid {codec.shown_name}: {printable(error)},"
        f" in a frame of {len(frame)} bytes"
    )


def cannot_encode(error):
    """The CallError for an EncodeError of a result or chunk."""
    return CallError(HANDLER_FAILED, f"the result cannot be encoded: {printable(error)}")


def check_size(payload, limit):
    """Raises CallError when the payload is over the limit, in bytes."""
    if len(payload) > limit:
        raise CallError(
            MESSAGE_TOO_LARGE,
            f"a result of {len(payload)} bytes is over the frame limit of {limit}",
        )


class Timestamp:
    """Now, as ISO 8601 in UTC. One thread at a time."""

    def __init__(self):
        self._second = 0
        self._second_text = ""

    def now(self):
        """The text."""
        second, nanosecond = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{nanosecond // 1000:06d}Z"
