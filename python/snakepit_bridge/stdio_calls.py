"""A connection over stdio in version 2. PROTOCOL.md 6."""

from _thread import allocate_lock

from .calls import (
    CANCELLED,
    INVALID_ARGUMENT,
    MESSAGE_TOO_LARGE,
    NO_CHUNK,
    CallError,
    Context,
    as_call_error,
)
from .frames import OversizedFrame
from .sessions import BAD_SESSION_ID, is_session_id
from .stdio_requests import (
    BAD_ID,
    answerable,
    cannot_encode,
    check_size,
    cut,
    is_id,
    not_decoded,
    read_request,
)
from .stdio_threads import Threads
from .values import MIN_INT, DecodeError, EncodeError

MAX_CREDIT_BYTES = (1 << 31) - 1
MAX_TIMEOUT_MS = (1 << 63) - 1

# The longest single wait for credit; it is then repeated. Credit ends a wait at once.
_LONGEST_WAIT_S = 3600.0


class Call:
    """A call from its request to its last message.

    credit: int, bytes of chunks that may be sent before the call waits; None is no limit.
    waiting: a lock that is held while the handler waits for credit, and released to wake it.
    size: int, bytes of the request.
    """

    waiting = None

    def __init__(self, request_id, command, args, context, stream, credit, size):
        self.id = request_id
        self.command = command
        self.args = args
        self.context = context
        self.stream = stream
        self.credit = credit
        self.size = size

    def wake(self):
        """Wakes a handler that waits for credit. The lock of the Calls must be held."""
        if self.waiting is not None:
            self.waiting.release()
            self.waiting = None


class Calls:
    """The calls of one connection, and the control messages about them.

    The reading thread calls receive(), refusal() and input_ended(); any thread calls the others.
    """

    def __init__(self, worker, connection, agreement):
        self._worker = worker
        self._worker_id = worker.worker_id
        self._connection = connection
        self._codec = agreement.codec
        self._has_sessions = "session" in agreement.features
        self._has_streams = "stream" in agreement.features
        self._send_limit = agreement.send_limit
        self._threads = Threads(connection, worker.capacity, self)
        self._calls = {}  # id -> call in flight
        self._lock = allocate_lock()  # guards credit, waiting and _input_ended
        self._input_ended = False
        self.write = connection.write

    def serve(self):
        """Serves until the input ends or the worker is told to stop."""
        self._threads.run()

    # The interface that Threads uses.

    def receive(self, frame):
        """Interprets a frame: a Call to be run, the reply in bytes, or None."""
        try:
            message = self._codec.decode(frame)
        except DecodeError as error:
            problem = not_decoded(frame, self._codec, error)
            code = MESSAGE_TOO_LARGE if error.is_too_large else INVALID_ARGUMENT
            return self._refusal(error.request_id, problem, code)
        if type(message) is not dict:
            problem = f"a message must be a map, not {type(message).__name__}"
            return self._refusal(None, problem)
        if "type" in message:
            kind = message["type"]
            control = _CONTROLS.get(kind) if type(kind) is str else None
            return control(self, message) if control else None
        try:
            call = self._open(message, len(frame))
        except CallError as error:
            return self._refusal(message.get("id"), error.text)
        if call.id in self._calls:
            return self._refusal(call.id, f"the id {call.id} is that of a call in flight")
        if self._connection.stopping:  # PROTOCOL.md 1.4.8
            self._worker.count(False)
            error = CallError(CANCELLED, "the worker is ending", True)
            return self._failure(call.id, error)
        self._calls[call.id] = call
        return call

    def refusal(self, error):
        """The reply, or None, to input that cannot be read any more."""
        if isinstance(error, OversizedFrame):
            return self._refusal(None, str(error))
        return None

    def turn_away(self, call):
        """The reply to a call that exceeds the queue's limits. PROTOCOL.md 6.8.3."""
        capacity = self._worker.capacity
        problem = f"too many calls: the worker runs {capacity} at a time"
        return self._end_unbegun(call, CallError(INVALID_ARGUMENT, problem, True))

    def run(self, call):
        """Runs a call and writes its chunks. Returns the bytes of its last message."""
        if call.stream:
            payload = self._run_stream(call)
        else:
            payload = self._run_unary(call)
        call.context.end()
        del self._calls[call.id]
        return payload

    def input_ended(self):
        """Ends all waits for credit, since no more messages will come."""
        with self._lock:
            self._input_ended = True
            for call in list(self._calls.values()):
                call.wake()

    # Calls.

    def _open(self, message, size):
        """The Call of a request. Raises CallError."""
        request_id, command, args = read_request(message)
        timeout_ms = message.get("timeout_ms", 0)
        if type(timeout_ms) is not int or not MIN_INT <= timeout_ms <= MAX_TIMEOUT_MS:
            raise CallError(INVALID_ARGUMENT, "timeout_ms must be an integer of 64 bits")
        session_id = credit = None
        if self._has_sessions and "session_id" in message:
            session_id = message["session_id"]
            if not is_session_id(session_id):
                raise CallError(INVALID_ARGUMENT, BAD_SESSION_ID)
        stream = self._has_streams and message.get("stream", False)
        if type(stream) is not bool:
            raise CallError(INVALID_ARGUMENT, "stream must be true or false")
        if stream and "credit" in message:
            credit = message["credit"]
            if not _is_credit(credit):
                raise CallError(
                    INVALID_ARGUMENT, f"credit must be an integer from 1 to {MAX_CREDIT_BYTES}"
                )
        if session_id is None:
            context = Context(self._worker_id, request_id, None, timeout_ms)
        else:
            context = self._worker.context(request_id, session_id, timeout_ms)
        return Call(request_id, command, args, context, stream, credit, size)

    def _run_unary(self, call):
        try:
            result = self._worker.registry.call(call.command, call.args, call.context)
            payload = self._codec.encode_result(call.id, result)
            if len(payload) > self._send_limit:
                check_size(payload, self._send_limit)
        except CallError as error:
            failure = error
        except EncodeError as error:
            failure = cannot_encode(error)
        else:
            self._worker.count(True)
            return payload
        self._worker.count(False)
        return self._failure(call.id, failure)

    def _run_stream(self, call):
        index, context = 0, call.context
        chunks = self._worker.registry.stream(call.command, call.args, context)
        try:
            for chunk, final in chunks:
                payload = self._encoded_chunk(call, index, final, chunk)
                if call.credit is not None and chunk is not NO_CHUNK:
                    self._take_credit(call, len(payload))
                if final:
                    break
                self._connection.write_if(context.check, payload)
                index += 1
            self._worker.count(True)
            return payload
        except OSError:
            raise
        except Exception as error:
            self._worker.count(False)
            return self._failure(call.id, as_call_error(error), index)
        finally:
            chunks.close()

    def _encoded_chunk(self, call, index, final, chunk):
        try:
            payload = self._codec.encode_chunk(call.id, index, final, chunk)
        except EncodeError as error:
            raise cannot_encode(error) from None
        check_size(payload, self._send_limit)
        return payload

    def _take_credit(self, call, size):
        """Waits until there is credit, and takes `size` bytes of it. PROTOCOL.md 6.7."""
        context = call.context
        while True:
            with self._lock:
                if call.credit > 0:
                    call.credit -= size
                    return
                if self._input_ended:
                    raise CallError(CANCELLED, "the pool closed the connection")
                waiting = call.waiting = allocate_lock()
                waiting.acquire()
            context.check()  # sees a cancel whose wake() came too early
            left_ms = context.time_left_ms
            if left_ms is None:
                left_ms = _LONGEST_WAIT_S * 1000
            waiting.acquire(True, min(left_ms / 1000, _LONGEST_WAIT_S))
            with self._lock:
                call.waiting = None
            context.check()

    # Control messages. Each method returns the reply in bytes, or None.

    def _cancel(self, message):
        if not is_id(message.get("id")):
            return self._refusal(None, BAD_ID)
        call = self._calls.get(message["id"])
        if call is None:
            return None
        call.context.cancel()
        if self._threads.withdraw(call):
            error = CallError(CANCELLED, "the caller cancelled the call", True)
            return self._end_unbegun(call, error)
        with self._lock:
            call.wake()
        return None

    def _end_unbegun(self, call, error):
        del self._calls[call.id]
        self._worker.count(False)
        return self._failure(call.id, error)

    def _grant_credit(self, message):
        if not self._has_streams:
            return None
        if not is_id(message.get("id")):
            return self._refusal(None, BAD_ID)
        more = message.get("bytes")
        if not _is_credit(more):
            return self._refusal(None, f"bytes must be an integer from 1 to {MAX_CREDIT_BYTES}")
        call = self._calls.get(message["id"])
        if call is not None and call.credit is not None:
            with self._lock:
                call.credit += more
                if call.credit > 0:
                    call.wake()
        return None

    def _end_session(self, message):
        if not self._has_sessions:
            return None
        session_id = message.get("session_id")
        if not is_session_id(session_id):
            return self._refusal(None, BAD_SESSION_ID)
        self._worker.sessions.end(session_id)
        return None

    def _health(self, message):
        health = self._worker.health()
        health["calls_in_flight"] = len(self._calls)
        return self._reply(message, health)

    def _info(self, message):
        return self._reply(message, self._worker.info(self._connection.max_frame_bytes))

    def _reply(self, message, result):
        request_id = message.get("id")
        if not is_id(request_id):
            return self._refusal(request_id, BAD_ID)
        if request_id in self._calls:
            return self._refusal(request_id, f"the id {request_id} is that of a call in flight")
        try:
            payload = self._codec.encode_result(request_id, result)
            check_size(payload, self._send_limit)
            return payload
        except EncodeError as error:
            return self._failure(request_id, cannot_encode(error))
        except CallError as error:
            return self._failure(request_id, error)

    # Failures, as bytes.

    def _refusal(self, request_id, problem, code=INVALID_ARGUMENT):
        """The answer to an invalid message, with its id if possible.

        The id of a call in flight is left out: the answer would end that call. PROTOCOL.md 6.8.4.
        """
        request_id = answerable(request_id)
        if request_id in self._calls:
            request_id = None
        return self._failure(request_id, CallError(code, problem, True))

    def _failure(self, request_id, error, index=None):
        """A call's failure; with an index, the last message of its stream."""
        message = {"id": request_id}
        if index is not None:
            message.update(type="chunk", index=index, final=True)
        text = cut(error.text, self._send_limit)
        message.update(success=False, error=text, code=error.code)
        if error.did_not_run:
            message["did_not_run"] = True
        return self._codec.encode(message)


_CONTROLS = {
    "cancel": Calls._cancel,
    "credit": Calls._grant_credit,
    "end_session": Calls._end_session,
    "health": Calls._health,
    "info": Calls._info,
}


def _is_credit(value):
    return type(value) is int and 0 < value <= MAX_CREDIT_BYTES
