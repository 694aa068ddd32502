"""A connection over stdio in version 1: one request, then its reply. PROTOCOL.md 2."""

import time

from .calls import CallError
from .frames import OversizedFrame
from .stdio_requests import answerable, cannot_encode, check_size, cut, not_decoded, read_request
from .values import DecodeError, EncodeError


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
