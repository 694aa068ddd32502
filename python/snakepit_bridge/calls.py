"""A call as its handler sees it, and the errors with which a call can end."""

import sys
import time
from _thread import TIMEOUT_MAX as _LONGEST_WAIT_S
from _thread import allocate_lock

from . import forked

# The error codes that a worker gives. PROTOCOL.md 5.1.
UNIMPLEMENTED = "UNIMPLEMENTED"
INVALID_ARGUMENT = "INVALID_ARGUMENT"
HANDLER_FAILED = "HANDLER_FAILED"
DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
CANCELLED = "CANCELLED"
MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"


# The chunk of a stream's last message that has none.
NO_CHUNK = object()


class InvalidArgument(Exception):
    """Raised by a handler when the arguments of the call cannot be right.

    The call fails with INVALID_ARGUMENT and the exception's message alone.
    """


class DeadlineExceeded(Exception):
    """Raised by Context.check() when the call's deadline has passed. Fails the call."""


class Cancelled(Exception):
    """Raised by Context.check() when the caller has cancelled the call. Fails the call.

    A handler may raise it, too.
    """


class CallError(Exception):
    """The failure of a call: a code, and a text for people."""

    def __init__(self, code, text, did_not_run=False):
        """did_not_run: True if the handler was not called. PROTOCOL.md 6.4.3."""
        super().__init__(code, text)
        self.code = code
        self.text = text
        self.did_not_run = did_not_run


class Last:
    """Marks the final chunk of a stream: `yield Last(chunk)`.

    A stream whose handler returns without it ends with a message that holds no chunk.
    """

    __slots__ = ("chunk",)

    def __init__(self, chunk):
        self.chunk = chunk


class Context:
    """A handler's view of its call. Valid until the handler ends; usable from any thread.

    Cancellation is cooperative: a handler that takes long looks at `cancelled` now and then, or
    waits with wait(). Nothing else ends a cancelled call early, except that the generator of a
    stream is closed at its yield.

    In a process that the handler has forked, `cancelled`, check(), wait() and on_cancel() raise
    ForkedProcess, since that process hears nothing from the caller.

    command: str, the name by which the handler was called.
    worker_id: str, the pool's name for this worker.
    request_id: the id of the call on its connection: an int on stdio, a str on gRPC.
    session_id: str, the session of the call; None without a session.
    session: a dict that is kept from call to call of the session; None without a session. A
        worker keeps the 10,000 sessions used last. A session is dropped after an hour without a
        call, or when the pool ends it. Concurrent calls of one session share the dict, which has
        no lock.
    """

    # The values of most calls to their end: class attributes, since storing them takes time.
    command = None
    _deadline_ns = None
    _cancelled = _ended = False
    _event = _callbacks = None

    def __init__(self, worker_id, request_id, session_id=None, timeout_ms=0, session=None):
        """timeout_ms: int; 0 is no deadline, below 0 is a deadline that has passed already."""
        self.worker_id = worker_id
        self.request_id = request_id
        self.session_id = session_id
        self.session = session
        if timeout_ms:
            self._deadline_ns = time.monotonic_ns() + timeout_ms * 1_000_000

    @property
    def time_left_ms(self):
        """Milliseconds until the call's deadline, a float of at least 0; None without one."""
        if self._deadline_ns is None:
            return None
        return max(0.0, (self._deadline_ns - time.monotonic_ns()) / 1e6)

    @property
    def cancelled(self):
        """True if the caller has cancelled the call. On stdio a deadline does not set it."""
        if forked.is_child:
            forked.check("context.cancelled")
        return self._cancelled

    def check(self):
        """Raises Cancelled if the call is cancelled, DeadlineExceeded if its deadline passed."""
        if forked.is_child:
            forked.check("context.check()")
        if self._cancelled:
            raise Cancelled("the caller cancelled the call")
        if self._deadline_ns is not None and time.monotonic_ns() >= self._deadline_ns:
            raise DeadlineExceeded("the time limit of the call passed")

    def wait(self, seconds):
        """Blocks for that time, and returns True.

        Returns False as soon as the caller cancels the call or its deadline passes.

        seconds: int or float, 0 or more.
        """
        forked.check("context.wait()")
        event = self._cancel_event()
        left_ms = self.time_left_ms
        if left_ms is None or seconds * 1000 < left_ms:
            return not event.wait(min(seconds, _LONGEST_WAIT_S))
        event.wait(min(left_ms / 1000, _LONGEST_WAIT_S))
        return False

    def on_cancel(self, callback):
        """Calls callback() once when the caller cancels the call; at once if it has already.

        The callback runs on a thread of the SDK while the handler runs. It must return soon,
        since no message of the pool is read until then. It is not called after the call has
        ended. An exception that it raises is printed on stderr and goes no further.
        """
        forked.check("context.on_cancel()")
        with _cancel_lock:
            if not self._cancelled:
                self._callbacks = [*(self._callbacks or ()), callback]
                return
        callback()

    def cancel(self):
        """Cancels the call; only the SDK's servers use it. Thread-safe."""
        with _cancel_lock:
            if self._cancelled or self._ended:
                return
            self._cancelled = True
            event, callbacks = self._event, self._callbacks
        if event is not None:
            event.set()
        for callback in callbacks or ():
            try:
                callback()
            except Exception as error:  # the other callbacks and calls go on
                sys.__excepthook__(type(error), error, error.__traceback__)

    def end(self):
        """Makes later cancels have no effect; only the SDK's servers use it."""
        self._ended = True

    def _cancel_event(self):
        # Made on first use: few calls wait, and the import takes time.
        if self._event is None:
            from threading import Event

            with _cancel_lock:
                if self._event is None:
                    self._event = Event()
                    if self._cancelled:
                        self._event.set()
        return self._event


# One lock for all calls: it is held briefly, and few calls need it.
_cancel_lock = allocate_lock()


def as_call_error(error):
    """The CallError that reports a handler's exception to the caller."""
    if isinstance(error, CallError):
        return error
    if isinstance(error, InvalidArgument):
        return CallError(INVALID_ARGUMENT, printable(error) or type(error).__name__)
    if isinstance(error, DeadlineExceeded):
        return CallError(DEADLINE_EXCEEDED, printable(error) or "the time limit passed")
    if isinstance(error, Cancelled):
        return CallError(CANCELLED, printable(error) or "the call was cancelled")
    # The caller gets one line; the handler's author gets the traceback on stderr.
    sys.__excepthook__(type(error), error, error.__traceback__)
    return CallError(HANDLER_FAILED, describe(error))


def describe(error):
    """The text "TypeName: message", or the type's name alone if there is no message."""
    text = printable(error)
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def printable(value):
    """The text of a value, even if str() fails on it; can always be encoded as UTF-8."""
    try:
        text = str(value)
    except Exception:  # pylint: disable=broad-except
        text = f"<{type(value).__name__} that cannot be shown>"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
