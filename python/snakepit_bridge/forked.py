"""Keeps a process that a handler forks from acting as the worker. PROTOCOL.md 1.3.6."""

import os
import signal
import sys
from _thread import get_ident

# True if this process was forked by a worker that serves.
is_child = False

_before = {}  # signal number -> the handler that this process had before it served


class ForkedProcess(RuntimeError):
    """Raised when a process that a handler has forked uses the SDK: it is not the worker."""


def prepare(release):
    """Watches for forks; to be called once, by a process that begins to serve.

    release: called without arguments in each forked process before anything else runs there. It
        must close the connection.
    """

    masks = {}  # thread id -> its signal mask, for threads that are forking

    def before_fork():
        # Signals to the child stay pending until it has its own handlers.
        masks[get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, _before.keys())

    def in_parent():
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.pop(get_ident()))

    def in_child():
        global is_child
        mask = masks.pop(get_ident())
        if not is_child:  # a child's child has been through this
            is_child = True
            for number, handler in _before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
            release()
            # The SDK's threads other than the main one block these signals.
            mask -= _before.keys()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    os.register_at_fork(before=before_fork, after_in_parent=in_parent, after_in_child=in_child)


def handle(number, handler):
    """Sets a signal handler that forked processes do not inherit. Main thread only."""
    _before[number] = signal.signal(number, handler)


def check(what):
    """Raises ForkedProcess in a process that a handler has forked.

    what: the name of the function that was called, for the message.
    """
    if is_child:
        raise ForkedProcess(
            f"{what} used in process {os.getpid()}, which a handler has forked: only the worker"
            " process may use it"
        )


def leave(error=None):
    """Ends a forked process that has returned from the handler that forked it.

    The worker's exit functions are not run: only the worker runs them.

    error: the exception that the handler raised there, or None.
    """
    status = 1
    if isinstance(error, SystemExit) and not isinstance(error.code, str):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        sys.__excepthook__(type(error), error, error.__traceback__)
    else:
        print(
            f"process {os.getpid()} has returned from the handler that forked it, and is ended"
            " without a reply. A forked process must end with os._exit()",
            file=sys.stderr,
        )
    close_streams()
    os._exit(status & 0xFF)


def close_streams():
    """Flushes stdout and stderr."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # there is no stream, or it is closed
