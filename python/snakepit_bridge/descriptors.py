"""Keeps the protocol's descriptors away from handlers and from their children."""

import errno
import fcntl
import os
import sys

# Out of the way of programs that use low numbers by hand.
_LOWEST_PRIVATE_FD = 100


def _private(fd):
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LOWEST_PRIVATE_FD)
    except OSError as error:
        if error.errno != errno.EINVAL:  # the limit on descriptors is below that number
            raise
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)


def open_closed_stdio():
    """Opens what the process was started without, of 0 and 1, as /dev/null."""
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

    Thereafter descriptor 0 is /dev/null and 1 is stderr, for this process and for its
    children, so that neither a handler's print() nor a child can touch the protocol.
    What was printed before and is still buffered comes out on stderr too.
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
