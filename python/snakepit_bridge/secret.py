"""The token of a worker over gRPC, kept from handlers, children and other processes.

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
    """Overwrites a variable in the memory in which the process was given its environment.

    The kernel shows that memory to the user's other processes, as /proc/PID/environ, whatever the
    process has done to its environment since. Where it cannot be had, the variable stays there.
    """
    try:
        with open(process + "/stat", "rb") as file:
            # The second field is a name in brackets, and may hold blanks and brackets itself.
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


# As soon as the SDK is imported: until then it is there for all to see.
TOKEN = _take()
