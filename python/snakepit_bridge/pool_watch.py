"""Tells when the pool that started a gRPC worker is gone. PROTOCOL.md 1.4.9."""

import os
import select
import stat

_GONE = select.POLLHUP | select.POLLERR | select.POLLRDHUP


class PoolWatch:
    """Looks at what a pool gives its worker, none of which a terminal or a log file has.

    - Its stdin, where that is a pipe or a socket, is at its end.
    - Nobody reads its stdout any more, where that is a pipe or a socket, and the process that
      started it has ended. One of them alone is no sign: a shell script may read the
      announcement and no more, and whoever starts a worker by hand may log out.
    """

    def __init__(self, input_fd, output_fd, has_input):
        """input_fd, output_fd: the worker's stdin and stdout; the watch closes them.
        has_input: whether stdin is the pool's at all.
        """
        self._input_fd, self._output_fd = input_fd, output_fd
        self._poll = select.poll()
        self._pidfd = None
        self._is_gone = False
        if has_input and _is_channel(input_fd):
            if not _is_hung_up(input_fd):
                self._poll.register(input_fd, select.POLLRDHUP)
                return
            # Whoever held it did not live to see the worker run, or never wrote to it.
            self._is_gone = os.getppid() == 1
        if _is_channel(output_fd):
            try:
                self._pidfd = os.pidfd_open(os.getppid())
            except OSError:  # no parent within this namespace, or an old system
                return
            self._poll.register(self._pidfd, select.POLLIN)
            self._poll.register(output_fd, 0)

    def wait(self, wake_fd):
        """Waits until that can be read from, or the pool is gone: whether it is gone."""
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
        """Closes the descriptors: in a forked child, too."""
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
