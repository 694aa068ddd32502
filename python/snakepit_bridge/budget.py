"""What a message becomes in memory, told before it is decoded.

A byte of MessagePack can be an empty map, which is 88 bytes of memory. So what a message becomes is
limited beside its own size: max_decoded_bytes. A message that is too small to get there, as nearly
all are, is not looked at. Of a larger one the values are counted by regular expressions, which run
at the speed of a decoder and keep nothing.

The same expressions read the id of a message that is refused, without decoding its arguments.
"""

import re

# An element of an array, or the key or value of a map: its place and a small object. Measured with
# CPython 3.11, what a message takes is at most three quarters as much again as what is counted.
_VALUE_BYTES = 56
# An array or a map, beside that.
_CONTAINER_BYTES = 56
# What one byte of a message counts at most.
_MOST_FOR_A_BYTE = _VALUE_BYTES + _CONTAINER_BYTES + 1

_LEAST_DEFAULT, _TIMES_DEFAULT = 512 << 20, 8

_BLANKS = b" \t\n\r"  # of JSON

# Of a message that is refused, the members that are looked at for its id.
_MAX_MEMBERS = 1000
# What one match counts: more, and little is found out by it; fewer, and there are many matches.
_QUANTUM = 256


def decoded_limit(max_message_bytes):
    """max_decoded_bytes for messages of at most that size: 512 MiB, or 8 times that size."""
    return max(_LEAST_DEFAULT, _TIMES_DEFAULT * max_message_bytes)


class OverBudget(Exception):
    """What the values of a message take is over max_decoded_bytes; says so."""

    def __init__(self, size, limit):
        super().__init__(
            f"decoded, the message takes {size} bytes of memory or more, over the limit"
            f" max_decoded_bytes of {limit}"
        )


def smallest_over(limit):
    """The size in bytes of the smallest message that has to be looked at."""
    return limit // _MOST_FOR_A_BYTE + 1


def check_message_pack(data, limit):
    """Raises OverBudget when the values in MessagePack take more memory than that."""
    _check(_message_pack_counter(), data, limit)


def check_json(data, limit):
    """Raises OverBudget when the values in JSON, as bytes, take more memory than that."""
    if json_bound(data) > limit:
        _check(_json_counter(), data, limit)


def json_bound(data):
    """What the values in JSON take at most, in bytes: punctuation within texts is counted too."""
    containers = data.count(b"[") + data.count(b"{")
    values = 1 + data.count(b",") + data.count(b":") + containers
    return len(data) + values * _VALUE_BYTES + containers * _CONTAINER_BYTES


def check_map(items, limit):
    """The same for the (key, value) pairs of a map<string, bytes>, where values may be JSON."""
    size = 0
    for key, value in items:
        size += len(key) + len(value) + 2 * _VALUE_BYTES
        # Any other is one text, number or the like, whatever punctuation is in it.
        if value.lstrip(_BLANKS)[:1] in (b"[", b"{"):
            more = json_bound(value)
            if size + more > limit:
                more = _counted(_json_counter(), value, max(0, limit - size))
            size += more
        if size > limit:
            raise OverBudget(size, limit)


def _check(counter, data, limit):
    size = _counted(counter, data, limit)
    if size > limit:
        raise OverBudget(size, limit)


def _counted(counter, data, limit):
    """What the values take, as far as it has to be known to tell whether it is over the limit."""
    size = len(data)
    size += _VALUE_BYTES * counter.values(data, (limit - size) // _VALUE_BYTES)
    # Few messages have so many values that it matters which of them are containers.
    if size <= limit < size + (size - len(data)):
        size += _CONTAINER_BYTES * counter.containers(data, (limit - size) // _CONTAINER_BYTES)
    return size


class _Counter:
    """Counts what is in a message, as far as the message is well-formed."""

    def __init__(self, leaf, container, skip):
        """leaf, container: expressions for the beginning of a value up to what is within it.
        skip(data, start): where the leaf ends that is too long for the expression; or start.
        """
        leaf_or_container = b"(?:%b|%b)" % (leaf, container)
        up_to_container = b"(?:(?:%b)*+%b)" % (leaf, container)
        self._one_value = re.compile(leaf_or_container, re.DOTALL)
        self._one_container = re.compile(up_to_container, re.DOTALL)
        self._values = re.compile(b"%b{%d}+" % (leaf_or_container, _QUANTUM), re.DOTALL)
        self._containers = re.compile(b"%b{%d}+" % (up_to_container, _QUANTUM), re.DOTALL)
        self._run = re.compile(leaf_or_container + b"*+", re.DOTALL)
        self._skip = skip

    def values(self, data, enough):
        """How many values there are, keys among them; once over `enough`, so far."""
        return self._count(self._values, self._one_value, data, enough, 1)

    def containers(self, data, enough):
        """How many arrays and maps, likewise."""
        return self._count(self._containers, self._one_container, data, enough, 0)

    def _count(self, many, one, data, enough, for_long_leaf):
        count = position = 0
        while count <= enough:
            found = many.match(data, position)
            if found:
                count += _QUANTUM
                position = found.end()
                continue
            # Fewer than that before the next long one, or the end.
            end = self._run.match(data, position).end()
            found = one.match(data, position, end)
            while found:
                count += 1
                found = one.match(data, found.end(), end)
            position = self._skip(data, end)
            if position == end:
                break
            count += for_long_leaf
        return count


def _lengths(most):
    """A byte and as many bytes as that says, for each length up to that one."""
    groups = []
    for first in range(0, most + 1, 16):
        last = min(first + 15, most)
        lengths = (b"\\x%02x.{%d}" % (length, length) for length in range(first, last + 1))
        groups.append(b"(?=[\\x%02x-\\x%02x])(?:%b)" % (first, last, b"|".join(lengths)))
    return b"(?:%b)" % b"|".join(groups)


_FIXED_STR = b"|".join(b"\\x%02x.{%d}" % (0xA0 + length, length) for length in range(32))
_MESSAGE_PACK_LEAF = (
    rb"(?:[\x00-\x7f\xc0\xc2\xc3\xe0-\xff]|[\xcb\xcf\xd3].{8}|(?=[\xa0-\xbf])(?:%b)"
    rb"|[\xcc\xd0].|[\xcd\xd1].{2}|[\xca\xce\xd2].{4}"
    rb"|(?:[\xc4\xd9]|[\xc5\xda]\x00|[\xc6\xdb]\x00{3})%b"
    # Timestamps: refused, like all extensions, but only when what is around them has been decoded.
    rb"|\xd6\xff.{4}|\xd7\xff.{8}"
    rb"|(?:\xc7|\xc8\x00|\xc9\x00{3})(?:\x04\xff.{4}|\x08\xff.{8}|\x0c\xff.{12}))"
)
_MESSAGE_PACK_CONTAINER = rb"(?:[\x80-\x9f]|[\xdc\xde].{2}|[\xdd\xdf].{4})"
# The bytes of the length of a str or bin.
_LENGTH_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}

_JSON_TEXT = rb'"(?:[^"\\]++|\\.)*+"'
_JSON_BETWEEN = rb"[\s,:\]}]*+"
_JSON_LEAF = _JSON_BETWEEN + rb"(?:%b|[^\s,:\[\]{}\"]++)" % _JSON_TEXT
_JSON_CONTAINER = _JSON_BETWEEN + rb"[\[{]"

_counters = {}  # those that were needed: to make one takes 10 ms


def _message_pack_counter():
    if "msgpack" not in _counters:
        leaf = _MESSAGE_PACK_LEAF % (_FIXED_STR, _lengths(255))
        _counters["msgpack"] = _Counter(leaf, _MESSAGE_PACK_CONTAINER, _after_long_leaf)
    return _counters["msgpack"]


def _json_counter():
    if "json" not in _counters:
        _counters["json"] = _Counter(_JSON_LEAF, _JSON_CONTAINER, lambda _data, start: start)
    return _counters["json"]


def _after_long_leaf(data, start):
    if start >= len(data) or data[start] not in _LENGTH_BYTES:
        return start
    payload = start + 1 + _LENGTH_BYTES[data[start]]
    end = payload + int.from_bytes(data[start + 1 : payload], "big")
    return end if end <= len(data) else start


def message_pack_members(data, names):
    """Those members of a map in MessagePack that are integers or short texts, by name.

    Nothing else of it is decoded. What cannot be read ends the search.
    """
    from msgpack import Unpacker

    found = {}
    try:
        unpacker = Unpacker(max_buffer_size=len(data), strict_map_key=False)
        unpacker.feed(data)
        for _ in range(min(unpacker.read_map_header(), _MAX_MEMBERS)):
            name = _small(unpacker, data)
            value = _small(unpacker, data)
            if type(name) is str and name in names:
                found[name] = value
    except Exception:  # the end of what can be read
        pass
    return found


def _small(unpacker, data):
    """The next value when it is an integer or a short text; else None."""
    kind = data[unpacker.tell()]
    if kind <= 0x7F or 0xA0 <= kind <= 0xBF or 0xCC <= kind <= 0xD3 or kind >= 0xE0:
        return unpacker.unpack()
    unpacker.skip()
    return None


def json_members(data, names):
    """The same for JSON, as bytes."""
    found = {}
    if "member" not in _counters:
        within = rb'(?:[^"\[\]{}]++|%b)*+' % _JSON_TEXT
        for _ in range(64):
            within = rb'(?:[^"\[\]{}]++|%b|[\[{]%b[\]}])*+' % (_JSON_TEXT, within)
        _counters["member"] = re.compile(
            rb'\s*+[,{]\s*+(%b)\s*+:\s*+(?:([^\s"\[\]{},:]++|%b)|[\[{]%b[\]}])'
            % (_JSON_TEXT, _JSON_TEXT, within),
            re.DOTALL,
        )
    position = 0
    for _ in range(_MAX_MEMBERS):
        member = _counters["member"].match(data, position)
        if not member:
            break
        position = member.end()
        name, value = member[1][1:-1], member[2]
        if name in (n.encode() for n in names):
            is_integer = value and re.fullmatch(rb"-?[0-9]{1,19}", value)
            found[name.decode()] = int(value) if is_integer else value
    return found
