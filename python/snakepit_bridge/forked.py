"""What becomes of a process that a handler forks: it is not the worker. PROTOCOL.md 1.3.6."""

import os
import signal
import sys
from _thread import get_ident

# Whether this process was forked by a worker that serves.
is_child = False

_before = {}  # the signal handlers that this process had before it served


class ForkedProcess(RuntimeError):
    """A process that a handler has forked used the SDK, which serves the worker alone."""


def prepare(release):
    """To be called once, by a process that begins to serve.

    release(): called in each process that this one forks, before anything else runs there;
        it lets go of the connection.
    """

    masks = {}  # of the threads that fork just now

    def before_fork():
        # What is sent to the child before it has its own handlers waits until then.
        masks[get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, _before.keys())

    def in_parent():
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.pop(get_ident()))

    def in_child():
        global is_child
        mask = masks.pop(get_ident())
        if not is_child:  # and no child of one
            is_child = True
            for number, handler in _before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
            release()
            # The SDK's threads beside the main one have them blocked.
            mask -= _before.keys()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    os.register_at_fork(before=before_fork, after_in_parent=in_parent, after_in_child=in_child)


def handle(number, handler):
    """Sets the handler of a signal, for this process and not for those that it forks."""
    _before[number] = signal.signal(number, handler)


def check(what):
    """Raises ForkedProcess in a process that a handler has forked. what: the caller's name."""
    if is_child:
        raise ForkedProcess(
            f"{what} in process {os.getpid()}, which a handler has forked: it is not the worker"
        )


def leave(error=None):
    """Ends a process that came back from the handler in which it was forked.

    error: what the handler raised there, if anything. Nothing of the worker is run down: that
    is the worker's to do.
    """
    status = 1
    if isinstance(error, SystemExit) and not isinstance(error.code, str):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        sys.__excepthook__(type(error), error, error.__traceback__)
    else:
        print(
            f"process {os.getpid()} has returned from the handler that forked it: it sends no"
            " reply, and is ended. A forked process ends by os._exit()",
            file=sys.stderr,
        )
    close_streams()
    os._exit(status & 0xFF)


def close_streams():
    """Has everything come out that was printed."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # none, or closed
