"""The memory that a message takes when decoded, estimated before it is decoded.

One byte of MessagePack can be an empty map, which takes 88 bytes of memory. So max_decoded_bytes
limits the decoded size, beside the limit on the message's own size. Nearly all messages are too
small to exceed it and are not inspected. The values of a larger message are counted by regular
expressions, which are as fast as a decoder and allocate nothing.

Similar expressions read the id of a refused message without decoding its arguments.
"""

import re

# Bytes for an element of an array, or a key or value of a map: its slot and a small object. With
# CPython 3.11 a message takes at most 1.75 times the memory that is counted (measured).
_VALUE_BYTES = 56
# Further bytes for an array or a map.
_CONTAINER_BYTES = 56
# The most that one byte of a message counts.
_MOST_FOR_A_BYTE = _VALUE_BYTES + _CONTAINER_BYTES + 1

_LEAST_DEFAULT, _TIMES_DEFAULT = 512 << 20, 8

_BLANKS = b" \t\n\r"  # JSON's blanks

# The most members of a refused message that are searched for its id.
_MAX_MEMBERS = 1000
# Values that one match counts: a larger number is too coarse, a smaller one takes many matches.
_QUANTUM = 256


def decoded_limit(max_message_bytes):
    """The max_decoded_bytes for a message limit: 8 times that limit, at least 512 MiB."""
    return max(_LEAST_DEFAULT, _TIMES_DEFAULT * max_message_bytes)


class OverBudget(Exception):
    """The values of a message would take more memory than max_decoded_bytes."""

    def __init__(self, size, limit):
        super().__init__(
            f"decoded, the message takes {size} bytes of memory or more, over the limit"
            f" max_decoded_bytes of {limit}"
        )


def smallest_over(limit):
    """The size in bytes of the smallest message that can exceed the limit."""
    return limit // _MOST_FOR_A_BYTE + 1


def check_message_pack(data, limit):
    """Raises OverBudget if the values in MessagePack take more than `limit` bytes."""
    _check(_message_pack_counter(), data, limit)


def check_json(data, limit):
    """Raises OverBudget if the values in JSON take more than `limit` bytes."""
    if json_bound(data) > limit:
        _check(_json_counter(), data, limit)


def json_bound(data):
    """An upper bound of the bytes that the values in JSON take; counts punctuation in texts."""
    containers = data.count(b"[") + data.count(b"{")
    values = 1 + data.count(b",") + data.count(b":") + containers
    return len(data) + values * _VALUE_BYTES + containers * _CONTAINER_BYTES


def check_map(items, limit):
    """Same as check_json(), for the (key, value) pairs of a map<string, bytes>."""
    size = 0
    for key, value in items:
        size += len(key) + len(value) + 2 * _VALUE_BYTES
        # Any other value is a single text, number or the like, whatever its punctuation.
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
    """The bytes that the values take, counted only until they are over the limit."""
    size = len(data)
    size += _VALUE_BYTES * counter.values(data, (limit - size) // _VALUE_BYTES)
    # Containers are counted only if they decide the outcome, which is rare.
    if size <= limit < size + (size - len(data)):
        size += _CONTAINER_BYTES * counter.containers(data, (limit - size) // _CONTAINER_BYTES)
    return size


class _Counter:
    """Counts the values of a message, up to its first malformed byte."""

    def __init__(self, leaf, container, skip):
        """leaf, container: expressions for a value, without the values in a container.
        skip(data, start): the end of a leaf at `start` that is too long for the expression, or
            start.
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
        """The number of values, keys included. The count may stop once it is over `enough`."""
        return self._count(self._values, self._one_value, data, enough, 1)

    def containers(self, data, enough):
        """The number of arrays and maps, counted likewise."""
        return self._count(self._containers, self._one_container, data, enough, 0)

    def _count(self, many, one, data, enough, for_long_leaf):
        count = position = 0
        while count <= enough:
            found = many.match(data, position)
            if found:
                count += _QUANTUM
                position = found.end()
                continue
            # There are fewer than _QUANTUM values before the next long leaf or the end.
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
    """An expression for a length byte of at most `most`, and that many bytes."""
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
    # Timestamps. The decoder refuses them like all extensions, but after decoding their neighbours.
    rb"|\xd6\xff.{4}|\xd7\xff.{8}"
    rb"|(?:\xc7|\xc8\x00|\xc9\x00{3})(?:\x04\xff.{4}|\x08\xff.{8}|\x0c\xff.{12}))"
)
_MESSAGE_PACK_CONTAINER = rb"(?:[\x80-\x9f]|[\xdc\xde].{2}|[\xdd\xdf].{4})"
# First byte of a str or bin -> the number of bytes of its length.
_LENGTH_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}

_JSON_TEXT = rb'"(?:[^"\\]++|\\.)*+"'
_JSON_BETWEEN = rb"[\s,:\]}]*+"
_JSON_LEAF = _JSON_BETWEEN + rb"(?:%b|[^\s,:\[\]{}\"]++)" % _JSON_TEXT
_JSON_CONTAINER = _JSON_BETWEEN + rb"[\[{]"

_counters = {}  # compiled on first use: each takes 10 ms


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
    """The members of a map in MessagePack with those names that are integers or short texts.

    Nothing else is decoded. The first unreadable value ends the search.
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
    except Exception:  # the rest cannot be read
        pass
    return found


def _small(unpacker, data):
    """The next value if it is an integer or a short text, else None."""
    kind = data[unpacker.tell()]
    if kind <= 0x7F or 0xA0 <= kind <= 0xBF or 0xCC <= kind <= 0xD3 or kind >= 0xE0:
        return unpacker.unpack()
    unpacker.skip()
    return None


def json_members(data, names):
    """Same as message_pack_members(), for JSON; texts are bytes."""
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
