"""The values of arguments and results, and their encodings. PROTOCOL.md 0.6, 2.2, 4.3.

A value that an encoding cannot carry is an error at the sender. It never silently becomes another
value. The codecs here are those of version 1; lossless.py has those of version 2.
"""

import json
from _thread import allocate_lock
from json.encoder import c_make_encoder, encode_basestring

from . import budget

MIN_INT = -(1 << 63)
MAX_INT = (1 << 64) - 1
# The most levels of nesting: deep enough for any data, and safe for every peer's stack.
MAX_DEPTH = 64

BYTES_TYPES = (bytes, bytearray, memoryview)

_LEAVES = frozenset((str, bool, float, bytes, type(None)))
_INFINITY = float("inf")

CONTAINERS = frozenset((dict, list))
_NO_NUMBERS = frozenset((str, bool, type(None)))
# The types of a message's members. Integers other than arguments are checked where they are used.
_USUAL_MEMBERS = frozenset((int, str, bool, dict))

_NO_TEXTS = frozenset((int, float, bool, type(None)))

# Patterns that any integer beyond 64 bits or float overflow has once all digits are zeros.
_DIGITS_TO_ZEROS = bytes.maketrans(b"123456789E", b"000000000e")
_LONG_INTEGER, _LONG_NEGATIVE, _LARGE_EXPONENT = b"0" * 20, b"-" + b"0" * 19, b"0e000"
_TO_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


# Bytes of messages that msgpack's C decoder may refuse before its Python decoder replaces it.
MAX_REFUSED_BYTES = 256 << 10


class EncodeError(Exception):
    """A value cannot be encoded. The message says why."""


class DecodeError(Exception):
    """A payload cannot be decoded. The message says why."""

    def __init__(self, problem, request_id=None, is_too_large=False):
        """request_id: the id in the payload if it can be read and is a request's, else None.
        is_too_large: True if the values would take more memory than max_decoded_bytes.
        """
        super().__init__(problem)
        self.request_id = request_id
        self.is_too_large = is_too_large


def out_of_memory(data, request_id=None):
    """The DecodeError for a message whose values do not fit in the system's memory."""
    problem = f"out of memory for a message of {len(data)} bytes"
    return DecodeError(problem, request_id, is_too_large=True)


def check(value, depth=0):
    """Raises EncodeError if a command may not give the value."""
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
            raise EncodeError("an integer is outside the range INT64_MIN to UINT64_MAX")
    elif kind not in _LEAVES:
        _check_subclass(value, depth)


def check_message(message):
    """Same as check(), for a message, which is no nesting level. PROTOCOL.md 0.6."""
    check(message, -1)


def _check_subclass(value, depth):
    # An IntEnum or an OrderedDict is encoded as its base type.
    for base in (int, dict, list, tuple):
        if isinstance(value, base):
            check(base(value), depth)
            return
    if not isinstance(value, (str, float, *BYTES_TYPES)):
        raise EncodeError(f"a value of type {type(value).__name__} has no encoding")


def check_nesting(value, depth=0):
    """Raises ValueError if a decoded value is nested more than MAX_DEPTH deep.

    value: a dict or a list. depth: int, the number of dicts and lists around it.
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
    """Raises ValueError if a value decoded from JSON is none of PROTOCOL.md 0.6.

    text, data: the JSON, and its bytes. depth: int, the number of arrays and maps around the value.
    """
    if type(value) in CONTAINERS and _may_be_nested(data, MAX_DEPTH - depth):
        check_nesting(value, depth)
    # A scan of the bytes takes longer than a look at each value if there are few values.
    is_sparse = data.count(b",") + data.count(b":") < len(data) // 64
    if is_sparse or _may_have_large_numbers(data) or "\\u" in text:
        _check_leaves(value)


def _may_be_nested(data, most):
    if data.count(b"[") + data.count(b"{") <= most:
        return False
    # Removes the innermost brackets, level by level. Brackets in texts may be unpaired.
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
        raise ValueError("a number is too large for a double")
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
    """Raises ValueError for a number of JSON that is outside the range of all peers."""
    if type(number) is int:
        if not MIN_INT <= number <= MAX_INT:
            raise ValueError("an integer is outside the range INT64_MIN to UINT64_MAX")
    elif number in (_INFINITY, -_INFINITY):
        raise ValueError("a number is too large for a double")


def whole_text(text):
    """The text. Raises ValueError if it has a lone surrogate."""
    if not text.isascii():
        text.encode("utf-8")
    return text


def _refuse_constant(token):
    raise ValueError(f"{token} is not valid JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_scan = _decoder.scan_once


def json_decode(text):
    """The value of a JSON text. Raises ValueError or RecursionError.

    Quicker than the decoder's own decode(), which looks for blanks first.
    """
    try:
        value, end = _scan(text, 0)
    except StopIteration:  # it begins with blanks, or is no JSON
        return _decoder.decode(text)
    if end < len(text) and text[end:].strip(" \t\n\r"):
        raise json.JSONDecodeError("Extra data", text, end)
    return value


def _make_json_encode():
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    if c_make_encoder is None:
        return encoder.encode
    # encode() builds this for each value, which takes a third of the time for a small value.
    chunks_of = c_make_encoder(
        None, encoder.default, encode_basestring, None, ":", ",", False, False, False
    )
    join = "".join
    return lambda value: join(chunks_of(value, 0))


json_encode = _make_json_encode()  # takes checked values only: it does not detect cycles


class _Codec:
    """The common part of the codecs. Thread-safe.

    max_decoded_bytes: int, the most bytes of memory that the values of a message may take.
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
        """The id for the refusal of a message, given the members that could be read."""
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
                # Most messages have no member that needs a check.
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
        """Checks the args of a message, and replaces tags by values. Raises ValueError."""
        check_json_values(message, text, data, -1)

    def encode(self, message):
        """The bytes of a message. Raises EncodeError."""
        try:
            check_message(message)
            return json_encode(message).encode("utf-8")
        except (TypeError, ValueError, RecursionError) as error:
            raise EncodeError(str(error)) from None


class MessagePackCodec(_Codec):
    """Messages as MessagePack, with bytes distinct from text. Needs python3-msgpack."""

    name, shown_name = "msgpack", "MessagePack"

    def __init__(self, max_decoded_bytes=budget.decoded_limit(0)):
        """Raises ImportError if the package msgpack is not installed."""
        super().__init__(max_decoded_bytes)
        import msgpack

        self._unpack = msgpack.unpackb
        self._refused_bytes = 0
        self._has_odd_messages = False
        # The packer has one buffer, so it needs the lock.
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
        # A refusal below is none of the decoder's, so it does not count in _refused().
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
        # The C decoder leaks some of the memory of a message that it refuses.
        self._refused_bytes += len(data)
        if self._refused_bytes > MAX_REFUSED_BYTES:
            from msgpack import fallback

            self._unpack = fallback.unpackb

    def _value(self, data):
        # Most peers of version 1 send strict messages. Others are read slowly from then on.
        if not self._has_odd_messages and not needs_hooks(data):
            try:
                return self._unpack(data, ext_hook=refuse_extension)
            except Exception:  # the slow path below reads more forms, and reports errors
                self._has_odd_messages = True
        # Each byte that is not UTF-8 becomes a lone surrogate, which no UTF-8 contains.
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
    """True if MessagePack may hold a key of bytes, or an extension that msgpack knows.

    A bin begins with one of the first three bytes. A timestamp, for which msgpack calls no
    ext_hook, has the type -1 and 4, 8 or 12 bytes; its length precedes the type or is implied.
    A search for these bytes is quicker than a look at each value, and a search for one byte is
    quicker than for two.
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
    """The same list. Raises ValueError if one of its values is a timestamp."""
    for value in values:
        if type(value).__name__ == "Timestamp":
            refuse_extension(-1, value)
    return values


def _legacy_text(value):
    # A peer of version 1 may pack bytes as str. PROTOCOL.md 2.2.8.
    if type(value) is str and not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return value.encode("utf-8", "surrogateescape")
    return value


def _with_legacy_texts(values):
    return [_legacy_text(value) for value in refuse_timestamps(values)]


def _with_legacy_keys(pairs):
    pairs = list(pairs)  # the Python decoder gives an iterator
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
        raise ValueError("a key is a str that is not UTF-8")
    return key


def from_map_bytes(data):
    """The value of an entry of a map<string, bytes> to a worker. PROTOCOL.md 4.3.

    Bytes that are not UTF-8 stay bytes, and text that is not JSON stays text.
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
