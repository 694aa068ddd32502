"""Which values a command may give, and how they are encoded.

A value that an encoding cannot carry is an error here, at the sender, and never
silently another value.
"""

import json

MIN_INT = -(1 << 63)
MAX_INT = (1 << 64) - 1
# Deep enough for any data, and safe for the stack of every peer.
MAX_DEPTH = 64

_LEAVES = frozenset((str, bool, float, bytes, type(None)))


class EncodeError(Exception):
    """A value that cannot be encoded; says why."""


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
            if type(item) not in _LEAVES:
                check(item, depth + 1)
    elif kind is int:
        if not MIN_INT <= value <= MAX_INT:
            raise EncodeError("an integer is outside INT64_MIN to UINT64_MAX")
    elif kind not in _LEAVES:
        _check_subclass(value, depth)


def _check_subclass(value, depth):
    # An IntEnum or an OrderedDict is encoded as what it is derived from.
    for base in (int, dict, list, tuple):
        if isinstance(value, base):
            check(base(value), depth)
            return
    if not isinstance(value, (str, float)):
        raise EncodeError(f"a value of type {type(value).__name__} has no encoding")


def _refuse_constant(token):
    raise ValueError(f"{token} is no JSON")


_json_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
_json_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


class JsonCodec:
    """Messages as UTF-8 JSON."""

    name = "json"

    @staticmethod
    def decode(data):
        """The value of bytes. Raises ValueError or RecursionError."""
        return _json_decode(str(data, "utf-8"))

    @staticmethod
    def encode(value):
        """The bytes of a value. Raises EncodeError."""
        try:
            check(value)
            return _json_encode(value).encode("utf-8")
        except (TypeError, ValueError, RecursionError) as error:
            raise EncodeError(str(error)) from None


class MessagePackCodec:
    """Messages as MessagePack, bytes and text told apart. Needs python3-msgpack."""

    name = "msgpack"

    def __init__(self):
        """Raises ImportError when there is no msgpack package."""
        import msgpack

        self._pack = msgpack.Packer(use_bin_type=True).pack
        self._unpack = msgpack.unpackb

    def decode(self, data):
        """The value of bytes. Raises ValueError, its subclasses or RecursionError."""
        try:
            return self._unpack(data, raw=False, strict_map_key=True)
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(str(error) or type(error).__name__) from None

    def encode(self, value):
        """The bytes of a value. Raises EncodeError."""
        try:
            check(value)
            return self._pack(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise EncodeError(str(error)) from None


def from_map_bytes(data):
    """The value of bytes in a map<string, bytes> to a worker. PROTOCOL.md 4.

    Bytes that are no UTF-8 are bytes; text that is no JSON is text.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return data
    try:
        return _json_decode(text)
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
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8")
    return _json_encode(value).encode("utf-8")
