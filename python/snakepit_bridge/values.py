"""Which values a command may give, and how they are encoded. PROTOCOL.md 0.6, 2.2, 4.3.

A value that an encoding cannot carry is an error here, at the sender, and never
silently another value. The codecs here are those of version 1; lossless.py has those of
version 2.
"""

import json
from _thread import allocate_lock
from json.encoder import c_make_encoder, encode_basestring

from . import budget

MIN_INT = -(1 << 63)
MAX_INT = (1 << 64) - 1
# Deep enough for any data, and safe for the stack of every peer.
MAX_DEPTH = 64

BYTES_TYPES = (bytes, bytearray, memoryview)

_LEAVES = frozenset((str, bool, float, bytes, type(None)))
_INFINITY = float("inf")

CONTAINERS = frozenset((dict, list))
_NO_NUMBERS = frozenset((str, bool, type(None)))
# Of those beside the arguments, the integers are looked at where they are used.
_USUAL_MEMBERS = frozenset((int, str, bool, dict))

_NO_TEXTS = frozenset((int, float, bool, type(None)))

# What an integer outside of 64 bits or a number beyond the doubles has, once all digits are zeros.
_DIGITS_TO_ZEROS = bytes.maketrans(b"123456789E", b"000000000e")
_LONG_INTEGER, _LONG_NEGATIVE, _LARGE_EXPONENT = b"0" * 20, b"-" + b"0" * 19, b"0e000"
_TO_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


# Messages that msgpack's quick decoder may refuse until its slow one, in Python, takes its place.
MAX_REFUSED_BYTES = 256 << 10


class EncodeError(Exception):
    """A value that cannot be encoded; says why."""


class DecodeError(Exception):
    """A payload that is no message; says why."""

    def __init__(self, problem, request_id=None, is_too_large=False):
        """request_id: the id within it, if there is one to be read, and it is a request's.
        is_too_large: it may be a message, but its values are over max_decoded_bytes.
        """
        super().__init__(problem)
        self.request_id = request_id
        self.is_too_large = is_too_large


def out_of_memory(data, request_id=None):
    """The DecodeError where the system has no memory for what is in a message."""
    problem = f"out of memory for a message of {len(data)} bytes"
    return DecodeError(problem, request_id, is_too_large=True)


def check(value, depth=0):
    """Raises EncodeError when the value is none that a command may give."""
    kind = type(value)
    if kind is dict:
        if depth >= MAX_DEPTH:
            raise EncodeError(f"it is nested over {MAX_DEPTH} deep")
        for key, item in value.items():
            if type(key) is not str:
                raise EncodeError(f"a key is of type {type(key).__name__}, not str")
            if type(item) not in _LEAVES:
                check(item, depth + 1)
    elif kind is list or kind is tuple:
        if depth >= MAX_DEPTH:
            raise EncodeError(f"it is nested over {MAX_DEPTH} deep")
        for item in value:
            if type(item) not in _LEAVES and not (type(item) is int and MIN_INT <= item <= MAX_INT):
                check(item, depth + 1)
    elif kind is int:
        if not MIN_INT <= value <= MAX_INT:
            raise EncodeError("an integer is outside INT64_MIN to UINT64_MAX")
    elif kind not in _LEAVES:
        _check_subclass(value, depth)


def check_message(message):
    """The same for a whole message, which is no level of its own. PROTOCOL.md 0.6."""
    check(message, -1)


def _check_subclass(value, depth):
    # An IntEnum or an OrderedDict is encoded as what it is derived from.
    for base in (int, dict, list, tuple):
        if isinstance(value, base):
            check(base(value), depth)
            return
    if not isinstance(value, (str, float, *BYTES_TYPES)):
        raise EncodeError(f"a value of type {type(value).__name__} has no encoding")


def check_nesting(value, depth=0):
    """Raises ValueError when what was decoded is nested over 64 deep.

    value: a dict or a list. depth: how many others it is in.
    """
    level = [value]
    while level:
        if depth >= MAX_DEPTH:
            raise ValueError(f"a value is nested over {MAX_DEPTH} deep")
        depth += 1
        level = [
            item
            for container in level
            for item in (container.values() if type(container) is dict else container)
            if type(item) in CONTAINERS
        ]


def check_json_values(value, text, data, depth=0):
    """Raises ValueError when what JSON gave is no value of PROTOCOL.md 0.6.

    text, data: the JSON, and its bytes. depth: how many arrays and maps the value is in.
    """
    if type(value) in CONTAINERS and _may_be_nested(data, MAX_DEPTH - depth):
        check_nesting(value, depth)
    # Where there are few values, a look at each byte takes longer than a look at each value.
    is_sparse = data.count(b",") + data.count(b":") < len(data) // 64
    if is_sparse or _may_have_large_numbers(data) or "\\u" in text:
        _check_leaves(value)


def _may_be_nested(data, most):
    if data.count(b"[") + data.count(b"{") <= most:
        return False
    # Takes the innermost brackets away, level by level. Those in texts may not come in pairs.
    left = data.translate(_TO_BRACKETS, _NO_BRACKETS)
    for _ in range(most):
        size = len(left)
        left = left.replace(b"[]", b"")
        if len(left) == size:
            break
    return len(left) > 0


def _may_have_large_numbers(data):
    digits = data.translate(_DIGITS_TO_ZEROS, b"+")
    return _LONG_INTEGER in digits or _LONG_NEGATIVE in digits or _LARGE_EXPONENT in digits


def _check_leaves(value):
    if type(value) is dict:
        for key in value:
            whole_text(key)
        value = value.values()
    elif type(value) is not list:
        value = (value,)
    kinds = set(map(type, value))
    if float in kinds and (_INFINITY in value or -_INFINITY in value):
        raise ValueError("a number is beyond the doubles")
    if int in kinds or not _NO_TEXTS.issuperset(kinds):
        for item in value:
            kind = type(item)
            if kind is int:
                check_number(item)
            elif kind is str:
                whole_text(item)
            elif kind is dict or kind is list:
                _check_leaves(item)


def check_number(number):
    """Raises ValueError for one that JSON can have, and no peer."""
    if type(number) is int:
        if not MIN_INT <= number <= MAX_INT:
            raise ValueError("an integer is outside of INT64_MIN to UINT64_MAX")
    elif number in (_INFINITY, -_INFINITY):
        raise ValueError("a number is beyond the doubles")


def whole_text(text):
    """The text. Raises ValueError where it has half a character, a lone surrogate."""
    if not text.isascii():
        text.encode("utf-8")
    return text


def _refuse_constant(token):
    raise ValueError(f"{token} is no JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_scan = _decoder.scan_once


def json_decode(text):
    """The value of JSON. Raises ValueError or RecursionError.

    The decoder's own decode() looks for blanks first, which takes longer than a small message.
    """
    try:
        value, end = _scan(text, 0)
    except StopIteration:  # blanks, or no JSON
        return _decoder.decode(text)
    if end < len(text) and text[end:].strip(" \t\n\r"):
        raise json.JSONDecodeError("Extra data", text, end)
    return value


def _make_json_encode():
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    if c_make_encoder is None:
        return encoder.encode
    # What encode() makes anew for each value; a third of the time that a small one takes.
    chunks_of = c_make_encoder(
        None, encoder.default, encode_basestring, None, ":", ",", False, False, False
    )
    join = "".join
    return lambda value: join(chunks_of(value, 0))


json_encode = _make_json_encode()  # values that have been checked: they hold no cycle


class _Codec:
    """What a codec of either kind has.

    max_decoded_bytes: what the values of a message may take in memory.
    """

    def __init__(self, max_decoded_bytes=budget.decoded_limit(0)):
        self.max_decoded_bytes = max_decoded_bytes
        self._smallest_to_check = budget.smallest_over(max_decoded_bytes)

    def _check_budget(self, check_values, read_members, data):
        if len(data) < self._smallest_to_check:
            return
        try:
            check_values(data, self.max_decoded_bytes)
        except budget.OverBudget as error:
            request_id = self._id_in(read_members(data, ("id", "type")))
            problem = f"the message of {len(data)} bytes: {error}"
            raise DecodeError(problem, request_id, is_too_large=True) from None

    def _id_in(self, message):
        """The id with which to refuse a message, of which this is what could be read."""
        return message.get("id")


class JsonCodec(_Codec):
    """Messages as UTF-8 JSON."""

    name, shown_name = "json", "JSON"

    def decode(self, data):
        """The value of bytes. Raises DecodeError."""
        if len(data) >= self._smallest_to_check:
            self._check_budget(budget.check_json, budget.json_members, data)
        message = None
        try:
            text = str(data, "utf-8")
            message = json_decode(text)
            if type(message) is dict:
                args = message.get("args")
                # Most messages have nothing in which something could be wrong.
                if (
                    type(args) is not dict
                    or not _USUAL_MEMBERS.issuperset(map(type, message.values()))
                    or not _NO_NUMBERS.issuperset(map(type, args.values()))
                    or "$" in text
                    or "\\u" in text
                ):
                    self._finish(message, text, data)
            return message
        except (ValueError, RecursionError) as error:
            request_id = self._id_in(message) if type(message) is dict else None
            raise DecodeError(str(error), request_id) from None
        except MemoryError:
            members = budget.json_members(data, ("id", "type"))
            raise out_of_memory(data, self._id_in(members)) from None

    def _finish(self, message, text, data):
        """Makes the args of a message what they stand for. Raises ValueError."""
        check_json_values(message, text, data, -1)

    def encode(self, message):
        """The bytes of a message. Raises EncodeError."""
        try:
            check_message(message)
            return json_encode(message).encode("utf-8")
        except (TypeError, ValueError, RecursionError) as error:
            raise EncodeError(str(error)) from None


class MessagePackCodec(_Codec):
    """Messages as MessagePack, bytes and text told apart. Needs python3-msgpack."""

    name, shown_name = "msgpack", "MessagePack"

    def __init__(self, max_decoded_bytes=budget.decoded_limit(0)):
        """Raises ImportError when there is no msgpack package."""
        super().__init__(max_decoded_bytes)
        import msgpack

        self._unpack = msgpack.unpackb
        self._refused_bytes = 0
        self._has_odd_messages = False
        # A packer has one buffer for all that it packs.
        self._pack = msgpack.Packer(use_bin_type=True).pack
        self._lock = allocate_lock()

    def decode(self, data):
        """The message of bytes, by the rules of the version. Raises DecodeError."""
        if len(data) >= self._smallest_to_check:
            self._check_message_pack(data)
        try:
            message = self._value(data)
        except Exception as error:
            self._refused(data)
            raise self._decode_error(data, error) from None
        # The decoder has refused nothing where this does.
        try:
            if type(message) is dict:
                args = message.get("args")
                if type(args) is dict:
                    if not CONTAINERS.isdisjoint(map(type, args.values())):
                        check_nesting(args)
            return message
        except Exception as error:
            raise self._decode_error(data, error) from None

    def _decode_error(self, data, error):
        request_id = self._id_in(budget.message_pack_members(data, ("id", "type")))
        if isinstance(error, MemoryError):
            return out_of_memory(data, request_id)
        return DecodeError(str(error) or type(error).__name__, request_id)

    def _check_message_pack(self, data):
        self._check_budget(budget.check_message_pack, budget.message_pack_members, data)

    def _refused(self, data):
        # The quick decoder does not give all memory back of a message that it refuses.
        self._refused_bytes += len(data)
        if self._refused_bytes > MAX_REFUSED_BYTES:
            from msgpack import fallback

            self._unpack = fallback.unpackb

    def _value(self, data):
        # Of peers of version 1.
        if not self._has_odd_messages and not needs_hooks(data):
            try:
                return self._unpack(data, ext_hook=refuse_extension)
            except Exception:  # what follows reads more, and says what is wrong
                self._has_odd_messages = True
        # Each byte that is no UTF-8 becomes half a character, of which none is UTF-8.
        message = self._unpack(
            data,
            strict_map_key=False,
            unicode_errors="surrogateescape",
            object_pairs_hook=_with_legacy_keys,
            list_hook=_with_legacy_texts,
            ext_hook=refuse_extension,
        )
        return _legacy_text(message)

    def encode(self, message):
        """The bytes of a message. Raises EncodeError."""
        check_message(message)
        return self._packed(message)

    def _packed(self, value):
        try:
            with self._lock:
                return self._pack(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise EncodeError(str(error)) from None


def refuse_extension(code, _data):
    """Raises ValueError. PROTOCOL.md 2.2.6."""
    raise ValueError(f"an extension (type {code})")


def needs_hooks(data):
    """Whether MessagePack may hold a key of bytes, or an extension that msgpack knows.

    A bin begins with one of the first three; a timestamp, for which there is no ext_hook, is of
    type -1 and has 4, 8 or 12 bytes, a length that is before the type or goes without saying.
    Looking for these is quicker than looking at each value, and looking for one byte is quicker
    than looking for two.
    """
    if 0xC4 in data or 0xC5 in data or 0xC6 in data:
        return True
    return 0xFF in data and (
        b"\xd6\xff" in data
        or b"\xd7\xff" in data
        or b"\x04\xff" in data
        or b"\x08\xff" in data
        or b"\x0c\xff" in data
    )


def refuse_timestamps(values):
    """The list as it is. Raises ValueError where one of its values is a timestamp."""
    for value in values:
        if type(value).__name__ == "Timestamp":
            refuse_extension(-1, value)
    return values


def _legacy_text(value):
    # A peer of version 1 may have packed bytes as str. PROTOCOL.md 2.2.8.
    if type(value) is str and not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return value.encode("utf-8", "surrogateescape")
    return value


def _with_legacy_texts(values):
    return [_legacy_text(value) for value in refuse_timestamps(values)]


def _with_legacy_keys(pairs):
    pairs = list(pairs)  # the slow decoder gives an iterator
    refuse_timestamps([value for _, value in pairs])
    return {_legacy_key(key): _legacy_text(value) for key, value in pairs}


def _legacy_key(key):
    """A key as text. PROTOCOL.md 2.7.5."""
    if type(key) is bytes:
        return key.decode("utf-8")
    if type(key) is int:
        return str(key)
    if type(key) is not str:
        raise ValueError(f"a key is of type {type(key).__name__}")
    if type(_legacy_text(key)) is bytes:
        raise ValueError("a key is a str that is no UTF-8")
    return key


def from_map_bytes(data):
    """The value of bytes in a map<string, bytes> to a worker. PROTOCOL.md 4.3.

    Bytes that are no UTF-8 are bytes; text that is no JSON is text.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return data
    try:
        value = json_decode(text)
        if type(value) not in _NO_NUMBERS or "\\u" in text:
            check_json_values(value, text, data, 1)
        return value
    except (ValueError, RecursionError):
        return text


def to_map(value):
    """A result or chunk as the map<string, bytes> from a worker. Raises EncodeError."""
    check(value)
    if not isinstance(value, dict):
        value = {"result": value}
    try:
        for key in value:
            key.encode("utf-8")
        return {key: _to_map_bytes(item) for key, item in value.items()}
    except (TypeError, ValueError, RecursionError) as error:
        raise EncodeError(str(error)) from None


def _to_map_bytes(value):
    if isinstance(value, BYTES_TYPES):
        return bytes(value)
    if isinstance(value, str):
        return value.encode("utf-8")
    return json_encode(value).encode("utf-8")
