"""The bundled worker and its commands, which are the same over both transports."""

import math
import time

from ..calls import Last
from ..worker import Worker
from .arguments import refusal, require_integer, require_number

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
    """Returns the arguments: {status, echoed, timestamp}."""
    return {"status": "ok", "echoed": args, "timestamp": time.time()}


@worker.command("compute")
def compute(operation, a, b):
    """Computes: {status, operation, inputs, result, timestamp}.

    operation: "add", "subtract", "multiply" or "divide".
    a, b: finite numbers. The result of integers is an integer, except for "divide".

    Fails with HANDLER_FAILED on a division by zero, and if the result is not a finite float or an
    integer from INT64_MIN to UINT64_MAX.
    """
    function = _OPERATIONS.get(operation) if isinstance(operation, str) else None
    if function is None:
        raise refusal("operation", f"one of {', '.join(_OPERATIONS)}", operation)
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

    count: an integer, 0 or more, 5 by default.
    interval: seconds, 0 to 86,400, 1.0 by default.
    """
    require_integer("count", count, 0)
    require_number("interval", interval, 0, 86_400)
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
    """Classifies texts, one chunk for each: {item, prediction, confidence, processed_at}.

    batch_items: a list; some examples by default. An item that is no text is classified by its
        JSON text.

    prediction: the topic of a request to a shop's support, "account", "billing", "shipping" or
        "technical". confidence: its probability, 0 to 1, by the model.
    """
    from . import classifier

    yield from classifier.classify_all(batch_items)


@worker.command("process_large_dataset")
def process_large_dataset(path=None, column=None, group_by=None, chunk_size=100, total_rows=None):
    """Aggregates rows in constant memory, with a chunk after each `chunk_size` rows.

    path: a CSV file of any size, in UTF-8, whose first row names the columns. Without it,
        `total_rows` rows with the columns amount and region are generated, always the same.
    column: the column of numbers to aggregate; by default the first with a number in the first
        row.
    group_by: a column by whose values the rows are grouped, too. The first 100 values have a
        group each; the other rows form one group.
    chunk_size: the number of rows for a chunk, 1 or more, 100 by default.
    total_rows: the most rows to read, 0 or more; by default all rows of a file, and 1000
        generated ones.

    A chunk holds statistics of all rows so far: {processed_rows, total_rows, progress_percent,
    chunk_number, chunk_size, column, count, skipped, sum, mean, min, max}. total_rows is null
    until the end of a file. skipped is the number of values that are no number. With group_by,
    the final chunk also has `groups`, {value: {count, sum, mean, min, max}}, and `other_groups`,
    which is null or the same statistics.
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
    """Streams the lines of a log, one chunk for each.

    A chunk: {log_entry, severity, timestamp, entry_number, line_number, matches}.

    path: the file; a sample log by default.
    patterns: regular expressions, as a text, a list of texts, or a map of names to texts. Only
        lines that one of them matches are streamed; all lines by default.
    from_start: false begins at the current end of the file; true by default.
    follow: true waits for further lines, through truncation and rotation of the file, until the
        caller cancels or one of the limits below is met; false by default.
    max_entries: the most chunks, 1 or more; without a limit by default.
    idle_timeout: with follow, the longest time without a new line, in seconds; without a limit
        by default.

    severity: "critical", "error", "warning", "info" or "debug", by the words of the line.
    timestamp: the time at which the line was read, in seconds since 1970.
    matches: a list of {pattern, text, groups}.
    """
    from . import log_tail

    yield from log_tail.tail(context, path, patterns, from_start, follow, max_entries, idle_timeout)
