"""Detects that the pool that started a gRPC worker is gone. PROTOCOL.md 1.4.9."""

import os
import select
import stat

_GONE = select.POLLHUP | select.POLLERR | select.POLLRDHUP


class PoolWatch:
    """Watches the worker's stdin and stdout, and the process that started it.

    The pool is gone when one of these is true:

    - stdin is a pipe or a socket, and is at its end.
    - stdout is a pipe or a socket that nobody reads any more, and the process that started the
      worker has ended. Either alone is not enough: a shell script may read the announcement only,
      and a user who starts a worker by hand may log out.

    A terminal or a log file shows neither sign. One thread at a time.
    """

    def __init__(self, input_fd, output_fd, has_input):
        """input_fd, output_fd: int, the worker's stdin and stdout; close() closes them.
        has_input: bool, True if stdin may come from the pool.
        """
        self._input_fd, self._output_fd = input_fd, output_fd
        self._poll = select.poll()
        self._pidfd = None
        self._is_gone = False
        if has_input and _is_channel(input_fd):
            if not _is_hung_up(input_fd):
                self._poll.register(input_fd, select.POLLRDHUP)
                return
            # The other end was closed before the worker ran: by a pool that has ended since, or
            # by one that never uses it. Only an orphan has lost its pool.
            self._is_gone = os.getppid() == 1
        if _is_channel(output_fd):
            try:
                self._pidfd = os.pidfd_open(os.getppid())
            except OSError:  # the parent is in another PID namespace, or the kernel is old
                return
            self._poll.register(self._pidfd, select.POLLIN)
            self._poll.register(output_fd, 0)

    def wait(self, wake_fd):
        """Blocks until wake_fd is readable (False) or the pool is gone (True)."""
        self._poll.register(wake_fd, select.POLLIN)
        signs = {self._output_fd, self._pidfd}
        while not self._is_gone:
            for fd, _ in self._poll.poll():
                if fd == wake_fd:
                    return False
                self._poll.unregister(fd)
                signs.discard(fd)
                self._is_gone = fd == self._input_fd or not signs
        return True

    def close(self):
        """Closes the descriptors. A forked child calls it, too."""
        for fd in (self._input_fd, self._output_fd, self._pidfd):
            if fd is not None:
                os.close(fd)


def _is_channel(fd):
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _is_hung_up(fd):
    poll = select.poll()
    poll.register(fd, select.POLLRDHUP)
    return any(events & _GONE for _, events in poll.poll(0))
