"""Reads a log line by line, optionally as it grows, and matches patterns."""

import os
import re
import time

from ..calls import InvalidArgument, Last
from .arguments import refusal, require_bool, require_integer, require_number, require_text

SAMPLE_LOG = os.path.join(os.path.dirname(__file__), "..", "data", "sample.log")

# A longer line is split into pieces of this size, to bound the memory.
MAX_LINE_BYTES = 64 << 10
# Seconds between polls of a file without further lines.
POLL_INTERVAL_S = 0.05
MAX_PATTERNS = 100

# The first such word of a line determines its severity; without one it is info.
_SEVERITIES = {
    "critical": ("critical", "crit", "fatal", "emergency", "emerg", "alert", "panic"),
    "error": ("error", "err", "failed", "failure", "exception"),
    "warning": ("warning", "warn"),
    "info": ("info", "notice"),
    "debug": ("debug", "trace"),
}
_SEVERITY_OF_WORD = {word: severity for severity, words in _SEVERITIES.items() for word in words}
_SEVERITY_WORD = re.compile(rf"\b({'|'.join(_SEVERITY_OF_WORD)})\b", re.IGNORECASE)


def tail(context, path, patterns, from_start, follow, max_entries, idle_timeout):
    """The chunks of the command tail_and_analyze, which has the same arguments."""
    if path is None:
        path = SAMPLE_LOG
    require_text("path", path)
    require_bool("from_start", from_start)
    require_bool("follow", follow)
    if max_entries is not None:
        require_integer("max_entries", max_entries, 1)
    if idle_timeout is not None:
        require_number("idle_timeout", idle_timeout)
    compiled = _compile(patterns)
    lines = _Lines(path, from_start)
    try:
        if follow:
            source = _followed(lines, context, idle_timeout)
        else:
            source = lines.read(at_end=True)
        yield from _chunks(source, compiled, max_entries, mark_last=not follow)
    finally:
        lines.close()


def severity_of(line):
    """The severity of a line, by its words."""
    found = _SEVERITY_WORD.search(line)
    return _SEVERITY_OF_WORD[found.group().lower()] if found else "info"


def _compile(patterns):
    """A list of (name, compiled pattern); None if every line is wanted. Raises InvalidArgument."""
    if patterns is None:
        return None
    if isinstance(patterns, str):
        patterns = [patterns]
    if isinstance(patterns, list):
        pairs = [(text, text) for text in patterns]
    elif isinstance(patterns, dict):
        pairs = list(patterns.items())
    else:
        raise refusal("patterns", "a text, an array of texts or a map of texts", patterns)
    if len(pairs) > MAX_PATTERNS:
        raise InvalidArgument(f"there are over {MAX_PATTERNS} patterns")
    try:
        return [(name, re.compile(text)) for name, text in pairs]
    except (TypeError, re.error, RecursionError, OverflowError) as error:
        raise InvalidArgument(f"patterns: {error}") from None


def _chunks(lines, patterns, max_entries, mark_last):
    """A chunk for each wanted line. With mark_last the final one is a Last."""
    held = None
    entry_number = 0
    for line_number, line in enumerate(lines, 1):
        matches = _matches(patterns, line)
        if patterns is not None and not matches:
            continue
        if held is not None:
            yield held
        entry_number += 1
        chunk = {
            "log_entry": line,
            "severity": severity_of(line),
            "timestamp": time.time(),
            "entry_number": entry_number,
            "line_number": line_number,
            "matches": matches,
        }
        if entry_number == max_entries:
            yield Last(chunk)
            return
        if mark_last:
            held = chunk
        else:
            yield chunk
    if held is not None:
        yield Last(held)


def _matches(patterns, line):
    matches = []
    for name, pattern in patterns or ():
        found = pattern.search(line)
        if found:
            matches.append(
                {
                    "pattern": name,
                    "text": found.group(),
                    "groups": found.groupdict() or list(found.groups()),
                }
            )
    return matches


def _followed(lines, context, idle_timeout):
    """New lines until the caller cancels, or none has come for idle_timeout seconds."""
    last_line_s = time.monotonic()
    while True:
        for line in lines.read(at_end=False):
            yield line
            last_line_s = time.monotonic()
        successor = lines.successor()
        if successor is not None:
            # Lines may have been written between the last read and the change.
            yield from lines.read(at_end=True)
            lines.begin(successor)
            continue
        wait_s = POLL_INTERVAL_S
        if idle_timeout is not None:
            left_s = idle_timeout - (time.monotonic() - last_line_s)
            if left_s <= 0:
                yield from lines.read(at_end=True)
                return
            wait_s = min(wait_s, left_s)
        if not context.wait(wait_s):
            return


class _Lines:
    """The lines of a file that others append to, rotate and truncate."""

    def __init__(self, path, from_start):
        self._path = path
        self._file = open(path, "rb", buffering=0)
        self._pending = bytearray()
        if not from_start:
            self._file.seek(0, os.SEEK_END)

    def close(self):
        """Closes the file."""
        self._file.close()

    def read(self, at_end):
        """The lines written so far; with at_end also a last one without a newline."""
        while True:
            data = self._file.read(MAX_LINE_BYTES)
            if not data:
                break
            self._pending += data
            yield from self._whole_lines()
        if at_end and self._pending:
            line = _text(self._pending)
            self._pending.clear()
            yield line

    def successor(self):
        """The file to continue with if this one was truncated or replaced, else None."""
        mine = os.fstat(self._file.fileno())
        if mine.st_size < self._file.tell():
            return self._file
        try:
            other = os.stat(self._path)
            if (other.st_dev, other.st_ino) == (mine.st_dev, mine.st_ino):
                return None
            return open(self._path, "rb", buffering=0)
        except FileNotFoundError:
            return None  # it was moved away, and its successor does not exist yet

    def begin(self, successor):
        """Continues at the start of that file."""
        if successor is self._file:
            successor.seek(0)
        else:
            self._file.close()
            self._file = successor

    def _whole_lines(self):
        start = 0
        while True:
            end = self._pending.find(b"\n", start)
            if end < 0 and len(self._pending) - start < MAX_LINE_BYTES:
                break
            if end < 0 or end - start > MAX_LINE_BYTES:
                yield _text(self._pending[start : start + MAX_LINE_BYTES])
                start += MAX_LINE_BYTES
                continue
            yield _text(self._pending[start:end])
            start = end + 1
        del self._pending[:start]


def _text(line):
    """The text of a line; bytes that are not UTF-8 become U+FFFD."""
    return line.removesuffix(b"\r").decode("utf-8", "replace")
