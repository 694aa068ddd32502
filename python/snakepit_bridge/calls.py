"""What a handler sees of a call, and the errors with which a call can end."""

import sys
import time

# The codes of PROTOCOL.md 5.1 that a worker gives.
UNIMPLEMENTED = "UNIMPLEMENTED"
INVALID_ARGUMENT = "INVALID_ARGUMENT"
HANDLER_FAILED = "HANDLER_FAILED"
DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"


class InvalidArgument(Exception):
    """Raised by a handler: the arguments of the call cannot be right."""


class DeadlineExceeded(Exception):
    """The time limit of the call has passed."""


class CallError(Exception):
    """How a call failed: a code, and a text for people."""

    def __init__(self, code, text):
        super().__init__(code, text)
        self.code = code
        self.text = text


class Last:
    """`yield Last(chunk)` in a streaming handler: this chunk is the final one."""

    __slots__ = ("chunk",)

    def __init__(self, chunk):
        self.chunk = chunk


class Context:
    """What a handler may know of its call. Valid until the call ends.

    worker_id: what the pool calls this worker.
    request_id: the id of the call on its connection: an int on stdio, a str on gRPC.
    session_id: the session of the call, or None.
    """

    __slots__ = (
        "worker_id",
        "request_id",
        "session_id",
        "_deadline_ns",
        "_sessions",
        "_on_cancel",
        "_cancelled",
    )

    def __init__(
        self,
        worker_id,
        request_id,
        session_id=None,
        timeout_ms=0,
        sessions=None,
        on_cancel=None,
    ):
        """timeout_ms: 0 is no limit, and below 0 the limit has passed already.

        on_cancel(callback) arranges for a call of callback when the caller gives up; it
        returns False when that has happened already.
        """
        self.worker_id = worker_id
        self.request_id = request_id
        self.session_id = session_id
        self._deadline_ns = None
        if timeout_ms:
            self._deadline_ns = time.monotonic_ns() + timeout_ms * 1_000_000
        self._sessions = sessions
        self._on_cancel = on_cancel
        self._cancelled = None

    @property
    def deadline_left_ms(self):
        """Milliseconds left for the call, at least 0; None without a time limit."""
        if self._deadline_ns is None:
            return None
        return max(0.0, (self._deadline_ns - time.monotonic_ns()) / 1e6)

    @property
    def session(self):
        """A dict that is kept from call to call of the session; None without a session.

        A worker keeps the 10,000 sessions used last, each until it has not been used
        for an hour.
        """
        if self.session_id is None or self._sessions is None:
            return None
        return self._sessions.get(self.session_id)

    @property
    def cancelled(self):
        """Whether the caller has given the call up."""
        return self._cancel_event().is_set()

    def check_deadline(self):
        """Raises DeadlineExceeded when the time limit of the call has passed."""
        if self._deadline_ns is not None and time.monotonic_ns() >= self._deadline_ns:
            raise DeadlineExceeded("the time limit of the call passed")

    def wait(self, seconds):
        """Waits that long, or until the caller gives up: then returns True at once.

        Raises DeadlineExceeded as soon as the time limit of the call has passed.
        """
        self.check_deadline()
        left_ms = self.deadline_left_ms
        if left_ms is None or seconds * 1000 < left_ms:
            return self._cancel_event().wait(seconds)
        if self._cancel_event().wait(left_ms / 1000):
            return True
        raise DeadlineExceeded("the time limit of the call passed")

    def _cancel_event(self):
        # Made when first asked for: few calls wait, and the import is not free.
        if self._cancelled is None:
            from threading import Event

            event = Event()
            if self._on_cancel is not None and self._on_cancel(event.set) is False:
                event.set()
            self._cancelled = event
        return self._cancelled


def as_call_error(error):
    """The CallError that reports an exception of a handler to the caller."""
    if isinstance(error, CallError):
        return error
    if isinstance(error, InvalidArgument):
        return CallError(INVALID_ARGUMENT, printable(error))
    if isinstance(error, DeadlineExceeded):
        return CallError(DEADLINE_EXCEEDED, printable(error))
    # The caller gets one line; whoever wrote the handler wants the place, on stderr.
    sys.__excepthook__(type(error), error, error.__traceback__)
    return CallError(HANDLER_FAILED, describe(error))


def describe(error):
    """"TypeName: message", or only the name where there is no message."""
    text = printable(error)
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def printable(value):
    """str(value) that can always be encoded, whatever the value does."""
    try:
        text = str(value)
    except Exception:  # pylint: disable=broad-except
        text = f"<{type(value).__name__} that cannot be shown>"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
