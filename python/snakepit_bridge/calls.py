"""What a handler sees of a call, and the errors with which a call can end."""

import sys
import time
from _thread import TIMEOUT_MAX as _LONGEST_WAIT_S
from _thread import allocate_lock

from . import forked

# The codes of PROTOCOL.md 5.1 that a worker gives.
UNIMPLEMENTED = "UNIMPLEMENTED"
INVALID_ARGUMENT = "INVALID_ARGUMENT"
HANDLER_FAILED = "HANDLER_FAILED"
DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
CANCELLED = "CANCELLED"
MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"


# Stands for the chunk of a stream's last message that has none.
NO_CHUNK = object()


class InvalidArgument(Exception):
    """Raised by a handler: the arguments of the call cannot be right."""


class DeadlineExceeded(Exception):
    """The time limit of the call has passed."""


class Cancelled(Exception):
    """The caller has given the call up. A handler may raise it, too, to end such a call."""


class CallError(Exception):
    """How a call failed: a code, a text for people, and whether the handler was called."""

    def __init__(self, code, text, did_not_run=False):
        """did_not_run: the handler was not called. PROTOCOL.md 6.4.3."""
        super().__init__(code, text)
        self.code = code
        self.text = text
        self.did_not_run = did_not_run


class Last:
    """`yield Last(chunk)` in a streaming handler: this chunk is the final one."""

    __slots__ = ("chunk",)

    def __init__(self, chunk):
        self.chunk = chunk


class Context:
    """What a handler may know of its call. Valid until the call ends.

    In a process that the handler has forked, whatever has to do with the caller raises
    ForkedProcess: nobody tells it of anything.

    A handler that takes long looks at `cancelled` now and then, or waits by wait(). Only
    that ends a call that its caller has given up; nothing is done to the handler, but that
    the generator of a stream is closed at its yield. May be used from any thread.

    command: the name by which the handler was called.
    worker_id: what the pool calls this worker.
    request_id: the id of the call on its connection: an int on stdio, a str on gRPC.
    session_id: the session of the call, or None.
    session: a dict that is kept from call to call of the session, None without a session.
        A worker keeps the 10,000 sessions used last, each until it has not been used for
        an hour or the pool has ended it. Calls of one session that run at once share it.
    """

    # Of most calls, to their end: not stored for each.
    command = None
    _deadline_ns = None
    _cancelled = _ended = False
    _event = _callbacks = None

    def __init__(self, worker_id, request_id, session_id=None, timeout_ms=0, session=None):
        """timeout_ms: 0 is no limit, and below 0 the limit has passed already."""
        self.worker_id = worker_id
        self.request_id = request_id
        self.session_id = session_id
        self.session = session
        if timeout_ms:
            self._deadline_ns = time.monotonic_ns() + timeout_ms * 1_000_000

    @property
    def time_left_ms(self):
        """Milliseconds left for the call, at least 0; None without a time limit."""
        if self._deadline_ns is None:
            return None
        return max(0.0, (self._deadline_ns - time.monotonic_ns()) / 1e6)

    @property
    def cancelled(self):
        """Whether the caller has given the call up. Its time limit is another matter."""
        if forked.is_child:
            forked.check("context.cancelled")
        return self._cancelled

    def check(self):
        """Raises Cancelled or DeadlineExceeded when one of them has happened."""
        if forked.is_child:
            forked.check("context.check()")
        if self._cancelled:
            raise Cancelled("the caller has given the call up")
        if self._deadline_ns is not None:
            self.check_deadline()

    def check_deadline(self):
        """Raises DeadlineExceeded when the time limit of the call has passed."""
        if self._deadline_ns is not None and time.monotonic_ns() >= self._deadline_ns:
            raise DeadlineExceeded("the time limit of the call passed")

    def wait(self, seconds):
        """Waits that long, and returns True.

        Returns False as soon as the caller has given the call up or its deadline has passed.
        """
        forked.check("context.wait()")
        event = self._cancel_event()
        left_ms = self.time_left_ms
        if left_ms is None or seconds * 1000 < left_ms:
            return not event.wait(min(seconds, _LONGEST_WAIT_S))
        event.wait(min(left_ms / 1000, _LONGEST_WAIT_S))
        return False

    def on_cancel(self, callback):
        """Has callback() called once when the caller gives up; at once if it has already.

        It runs on a thread of the SDK while the handler runs, and must return soon: until
        then no message of the pool is read. It is not called when the call has ended.
        What it raises is told on stderr.
        """
        forked.check("context.on_cancel()")
        with _cancel_lock:
            if not self._cancelled:
                self._callbacks = [*(self._callbacks or ()), callback]
                return
        callback()

    def cancel(self):
        """For servers: the caller has given the call up. From any thread."""
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
            except Exception as error:  # the thread has more to do than this call
                sys.__excepthook__(type(error), error, error.__traceback__)

    def end(self):
        """For servers: the handler is through; what comes now changes nothing."""
        self._ended = True

    def _cancel_event(self):
        # Made when first asked for: few calls wait, and the import is not free.
        if self._event is None:
            from threading import Event

            with _cancel_lock:
                if self._event is None:
                    self._event = Event()
                    if self._cancelled:
                        self._event.set()
        return self._event


# One for all calls: it is held for a moment, and few calls need it.
_cancel_lock = allocate_lock()


def as_call_error(error):
    """The CallError that reports an exception of a handler to the caller."""
    if isinstance(error, CallError):
        return error
    if isinstance(error, InvalidArgument):
        return CallError(INVALID_ARGUMENT, printable(error) or type(error).__name__)
    if isinstance(error, DeadlineExceeded):
        return CallError(DEADLINE_EXCEEDED, printable(error) or "the time limit passed")
    if isinstance(error, Cancelled):
        return CallError(CANCELLED, printable(error) or "the call was cancelled")
    # The caller gets one line; whoever wrote the handler wants the place, on stderr.
    sys.__excepthook__(type(error), error, error.__traceback__)
    return CallError(HANDLER_FAILED, describe(error))


def describe(error):
    """ "TypeName: message", or only the name where there is no message."""
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
