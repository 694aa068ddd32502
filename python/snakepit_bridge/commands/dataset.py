"""Aggregates rows of a CSV file, or generated ones, in constant memory."""

import csv
import math
import os

from ..calls import InvalidArgument, Last
from .arguments import require_integer, require_text

MAX_LINE_BYTES = 1 << 20
MAX_GROUPS = 100
DEFAULT_GENERATED_ROWS = 1000

_REGIONS = ("north", "east", "south", "west")


def process(path, column, group_by, chunk_size, total_rows):
    """The chunks of the command process_large_dataset, which has the same arguments."""
    require_integer("chunk_size", chunk_size, 1)
    if total_rows is not None:
        require_integer("total_rows", total_rows, 0)
    for name, value in (("column", column), ("group_by", group_by)):
        if value is not None:
            require_text(name, value)
    if path is None:
        limit = DEFAULT_GENERATED_ROWS if total_rows is None else total_rows
        source = _GeneratedRows(limit)
    else:
        require_text("path", path)
        source = _CsvFile(path, total_rows)
    try:
        yield from _process(source, column, group_by, chunk_size)
    finally:
        source.close()


def _process(source, column, group_by, chunk_size):
    rows = iter(source)
    row = next(rows, None)
    if row is None:
        return
    column_index = _column_index(source.header, row, column)
    group_index = None if group_by is None else _index(source.header, group_by)
    totals, groups, others = _Figures(), {}, _Figures()
    processed = chunk_number = skipped = 0
    while row is not None:
        number = _number(row[column_index])
        if number is None:
            skipped += 1
        else:
            totals.add(number)
            if group_index is not None:
                _group(groups, others, row[group_index]).add(number)
        processed += 1
        # Reads one row ahead, to recognize the final chunk.
        row = next(rows, None)
        if row is not None and processed % chunk_size:
            continue
        chunk_number += 1
        chunk = {
            "processed_rows": processed,
            "total_rows": processed if row is None else source.total_rows,
            "progress_percent": 100.0 if row is None else source.percent(processed),
            "chunk_number": chunk_number,
            "chunk_size": (processed - 1) % chunk_size + 1,
            "column": source.header[column_index],
            "skipped": skipped,
            **totals.as_dict(),
        }
        if row is not None:
            yield chunk
            continue
        if group_index is not None:
            chunk["groups"] = {name: f.as_dict() for name, f in groups.items()}
            chunk["other_groups"] = others.as_dict() if others.count else None
        yield Last(chunk)


class _Figures:
    """The count, sum, mean, minimum and maximum of numbers that are added one by one."""

    __slots__ = ("count", "_sum", "_lost", "_min", "_max")

    def __init__(self):
        self.count = 0
        self._sum = 0.0
        self._lost = 0.0  # rounding error of the sum (Neumaier summation)
        self._min = math.inf
        self._max = -math.inf

    def add(self, number):
        """Adds a number."""
        self.count += 1
        total = self._sum + number
        if abs(self._sum) >= abs(number):
            self._lost += (self._sum - total) + number
        else:
            self._lost += (number - total) + self._sum
        self._sum = total
        if number < self._min:
            self._min = number
        if number > self._max:
            self._max = number

    def as_dict(self):
        """The statistics; mean, min and max are None without numbers. Raises OverflowError."""
        total = self._sum + self._lost
        if not math.isfinite(total):
            raise OverflowError("the sum is too large for a float")
        return {
            "count": self.count,
            "sum": total,
            "mean": total / self.count if self.count else None,
            "min": self._min if self.count else None,
            "max": self._max if self.count else None,
        }


def _group(groups, others, name):
    figures = groups.get(name)
    if figures is None:
        if len(groups) >= MAX_GROUPS:
            return others
        figures = groups[name] = _Figures()
    return figures


def _number(text):
    """The finite number in a field, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _column_index(header, row, column):
    if column is not None:
        return _index(header, column)
    for index, text in enumerate(row):
        if _number(text) is not None:
            return index
    raise InvalidArgument(f"no column holds a number in the first row: {header}")


def _index(header, column):
    try:
        return header.index(column)
    except ValueError:
        raise InvalidArgument(f"no column {column!r}; the columns are {header}") from None


class _GeneratedRows:
    """Generated rows, always the same."""

    header = ["amount", "region"]

    def __init__(self, total_rows):
        self.total_rows = total_rows

    def __iter__(self):
        for index in range(self.total_rows):
            yield str(index * 7919 % 10_007 / 100), _REGIONS[index % len(_REGIONS)]

    def percent(self, processed):
        """The progress, 0 to 100."""
        return round(100 * processed / self.total_rows, 2)

    def close(self):
        """Does nothing."""


class _CsvFile:
    """The rows of a CSV file, with one line at a time in memory."""

    def __init__(self, path, max_rows):
        self._path = path
        self._max_rows = max_rows
        self._bytes_read = 0
        self._line_number = 0
        self._file = open(path, "rb")
        self._size = os.fstat(self._file.fileno()).st_size
        self.total_rows = None
        self.header = []

    def close(self):
        """Closes the file."""
        self._file.close()

    def percent(self, processed):
        """The progress, 0 to 100, by the bytes read or the rows wanted."""
        done = self._bytes_read / self._size if self._size else 0.0
        if self._max_rows:
            done = max(done, processed / self._max_rows)
        return round(100 * min(1.0, done), 2)

    def __iter__(self):
        reader = csv.reader(self._lines(), strict=True)
        try:
            self.header = next(reader, [])
            count = 0
            for row in reader:
                if count == self._max_rows:
                    return
                if not row:
                    continue  # an empty line
                if len(row) != len(self.header):
                    raise InvalidArgument(
                        f"{self._path}: line {self._line_number} has {len(row)} fields,"
                        f" the header {len(self.header)}"
                    )
                count += 1
                yield row
        except csv.Error as error:
            raise InvalidArgument(f"{self._path}: line {self._line_number}: {error}") from None

    def _lines(self):
        encoding = "utf-8-sig"  # skips a byte order mark on the first line
        while True:
            line = self._file.readline(MAX_LINE_BYTES + 1)
            if not line:
                return
            self._line_number += 1
            self._bytes_read += len(line)
            if len(line) > MAX_LINE_BYTES:
                raise csv.Error(f"it is over {MAX_LINE_BYTES} bytes long")
            try:
                yield line.decode(encoding)
            except UnicodeDecodeError as error:
                raise csv.Error(f"it is not UTF-8: {error.reason}") from None
            encoding = "utf-8"
