"""The bundled worker: its commands, each the same over both transports."""

import math
import time

from ..calls import InvalidArgument, Last
from ..worker import Worker
from .arguments import require_integer, require_number

worker = Worker("snakepit_bridge")

_OPERATIONS = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
}


_EXAMPLE_ITEMS = ("Where is my parcel?", "I cannot log in", "Refund me")


@worker.command("echo")
def echo(**args):
    """Gives the arguments back: {status, echoed, timestamp}."""
    return {"status": "ok", "echoed": args, "timestamp": time.time()}


@worker.command("compute")
def compute(operation, a, b):
    """Computes: {status, operation, inputs, result, timestamp}.

    operation: "add", "subtract", "multiply" or "divide".
    a, b: numbers. Integers give an integer, but for divide, which gives a float.

    Fails on a division by zero, and where the result is over what a number can be.
    """
    function = _OPERATIONS.get(operation) if isinstance(operation, str) else None
    if function is None:
        raise InvalidArgument(f"unknown operation {operation!r}; one of: {', '.join(_OPERATIONS)}")
    for name, value in (("a", a), ("b", b)):
        require_number(name, value)
    result = function(a, b)
    if isinstance(result, float) and not math.isfinite(result):
        raise OverflowError("the result is too large for a float")
    if isinstance(result, int) and not -(1 << 63) <= result < 1 << 64:
        raise OverflowError("the result is too large for an integer")
    return {
        "status": "ok",
        "operation": operation,
        "inputs": {"a": a, "b": b},
        "result": result,
        "timestamp": time.time(),
    }


@worker.command("ping_stream")
def ping_stream(context, count=5, interval=1.0):
    """Streams chunks at intervals: {ping_number, timestamp, message}.

    count: 0 or more, 5 by default. interval: seconds, 0 or more, 1.0 by default.
    """
    require_integer("count", count, 0)
    require_number("interval", interval)
    if interval < 0 or interval > 86_400:
        raise InvalidArgument("interval is 0 to 86400 seconds")
    for number in range(1, count + 1):
        if number > 1 and interval > 0 and not context.wait(interval):
            return
        chunk = {
            "ping_number": number,
            "timestamp": time.time(),
            "message": f"Ping {number} of {count}",
        }
        yield Last(chunk) if number == count else chunk


@worker.command("batch_inference")
def batch_inference(batch_items=_EXAMPLE_ITEMS):
    """Classifies texts, a chunk each: {item, prediction, confidence, processed_at}.

    batch_items: a list; an item that is no text is classified by its JSON text. Some
    examples by default.

    prediction is "account", "billing", "shipping" or "technical": what a request to a
    shop's support is about. confidence is the model's probability of it, 0 to 1.
    """
    from . import classifier

    yield from classifier.classify_all(batch_items)


@worker.command("process_large_dataset")
def process_large_dataset(path=None, column=None, group_by=None, chunk_size=100, total_rows=None):
    """Aggregates rows in constant memory, a chunk after each `chunk_size` of them.

    path: a CSV file, UTF-8, whose first row names the columns; of any size. Without it,
    `total_rows` rows with the columns amount and region are generated, always the same.
    column: the column of numbers to aggregate; by default the first that holds a number
    in the first row.
    group_by: a column, for figures by its values too; of 100 groups, the rest together.
    chunk_size: rows a chunk, 1 or more, 100 by default.
    total_rows: the most rows to read, 0 or more; 1000 by default when rows are
    generated, and by default all rows of a file.

    A chunk: {processed_rows, total_rows, progress_percent, chunk_number, chunk_size,
    column, count, skipped, sum, mean, min, max}, figures over all rows so far.
    total_rows is null while a file's number of rows is not known; skipped counts values
    that are no number. The final chunk has `groups` too with group_by: {value: {count,
    sum, mean, min, max}}, and `other_groups`, null or the same figures.
    """
    from . import dataset

    yield from dataset.process(path, column, group_by, chunk_size, total_rows)


@worker.command("tail_and_analyze")
def tail_and_analyze(
    context,
    path=None,
    patterns=None,
    from_start=True,
    follow=False,
    max_entries=None,
    idle_timeout=None,
):
    """Reads the lines of a log, a chunk each.

    A chunk: {log_entry, severity, timestamp, entry_number, line_number, matches}.

    path: the file; a sample log by default.
    patterns: regular expressions; only lines that one of them matches are given. A
    text, a list of texts, or a map of names to texts.
    from_start: false begins at the end of the file as it is now.
    follow: true waits for more lines, through truncation and rotation of the file,
    until the caller gives up or one of the limits below is met.
    max_entries: ends after so many chunks, 1 or more.
    idle_timeout: with follow, ends after so many seconds without a new line.

    severity is "critical", "error", "warning", "info" or "debug", by the words of the
    line. timestamp is when the line was read. matches is a list of {pattern, text,
    groups}.
    """
    from . import log_tail

    yield from log_tail.tail(context, path, patterns, from_start, follow, max_entries, idle_timeout)
