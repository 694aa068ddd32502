"""Keeps the protocol's descriptors away from handlers and from their child processes."""

import errno
import fcntl
import os
import sys

# Above the low numbers that some programs use without asking.
_LOWEST_PRIVATE_FD = 100


def _private(fd):
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LOWEST_PRIVATE_FD)
    except OSError as error:
        if error.errno != errno.EINVAL:  # the limit on descriptors is below that number
            raise
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)


def open_closed_stdio():
    """Opens descriptors 0 and 1 as /dev/null if the process was started without them."""
    for fd, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY)):
        try:
            fcntl.fcntl(fd, fcntl.F_GETFD)
        except OSError:
            null = os.open(os.devnull, flags)
            if null != fd:
                os.dup2(null, fd)
                os.close(null)


def take_stdio():
    """Moves stdin and stdout to private descriptors, and returns them: (input, output).

    From then on descriptor 0 is /dev/null and 1 is stderr, in this process and its children.
    Neither a handler's print() nor a child can disturb the protocol. Text that was printed before
    and is still buffered goes to stderr, too.
    """
    private_input, private_output = _private(0), _private(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # started without a stderr
        os.dup2(null, 1)
        os.dup2(null, 2)
    if null > 2:
        os.close(null)
    if sys.stdout is not None:
        sys.stdout.reconfigure(line_buffering=True)
    return private_input, private_output
