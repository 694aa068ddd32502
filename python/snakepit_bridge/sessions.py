"""The state that a worker keeps for its sessions. PROTOCOL.md 6.5 and 6.9."""

import time
from _thread import allocate_lock

MAX_SESSIONS = 10_000
SESSION_TTL_S = 3600.0
# PROTOCOL.md 6.2.3.
MAX_SESSION_ID_BYTES = 256
BAD_SESSION_ID = f"session_id must be a text of 1 to {MAX_SESSION_ID_BYTES} bytes"


def is_session_id(value):
    """True if the value can be the id of a session."""
    if type(value) is not str or not value:
        return False
    try:
        return len(value.encode("utf-8")) <= MAX_SESSION_ID_BYTES
    except UnicodeEncodeError:
        return False


class Sessions:
    """One dict for each session, at most MAX_SESSIONS, each until unused for SESSION_TTL_S.

    Thread-safe, except for the dicts themselves: the handlers guard those. Calls in flight keep
    the dict that they got, even after the session has ended.
    """

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._lock = allocate_lock()
        self._entries = {}  # id -> (time of last use, dict); least recently used first

    def get(self, session_id):
        """The dict of a session; a new one if there is none."""
        with self._lock:
            now = self._clock()
            _, state = self._entries.pop(session_id, (now, None))
            self._expire(now)
            if state is None:
                state = {}
                if len(self._entries) >= MAX_SESSIONS:
                    del self._entries[next(iter(self._entries))]
            self._entries[session_id] = (now, state)
            return state

    def end(self, session_id):
        """Forgets a session, if it is known. A later call begins a new one."""
        with self._lock:
            self._entries.pop(session_id, None)

    def count(self):
        """The number of sessions that are kept."""
        with self._lock:
            self._expire(self._clock())
            return len(self._entries)

    def _expire(self, now):
        while self._entries:
            oldest = next(iter(self._entries))
            if now - self._entries[oldest][0] < SESSION_TTL_S:
                return
            del self._entries[oldest]
