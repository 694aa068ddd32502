"""The token of a worker over gRPC, hidden from handlers, children and other processes.

PROTOCOL.md 6.13.4.
"""

import os

_NAME = "SNAKEPIT_TOKEN"


def _take():
    token = os.environ.pop(_NAME, None)
    if token is not None:
        _wipe(os.fsencode(_NAME))
    return token


def _wipe(name, process="/proc/self"):
    """Overwrites a variable in the memory that holds the process's initial environment.

    The kernel shows that memory to the user's other processes as /proc/PID/environ, even after
    the process has changed its environment. The variable stays there if the memory cannot be
    written.
    """
    try:
        with open(process + "/stat", "rb") as file:
            # The second field is a name in brackets that may itself hold blanks and brackets.
            fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[47]), int(fields[48])  # env_start and env_end
        memory = os.open(process + "/mem", os.O_RDWR | os.O_CLOEXEC)
        try:
            for variable in os.pread(memory, end - start, start).split(b"\0"):
                if variable.startswith(name + b"="):
                    os.pwrite(memory, bytes(len(variable)), start)
                start += len(variable) + 1
        finally:
            os.close(memory)
    except (OSError, ValueError, IndexError):
        pass


# Taken as soon as the SDK is imported, since it is visible to all until then.
TOKEN = _take()
