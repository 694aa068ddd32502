"""Which values a command may give, and how they are encoded. PROTOCOL.md 0.6, 2.2, 4.3.

A value that an encoding cannot carry is an error here, at the sender, and never
silently another value. The codecs here are those of version 1; lossless.py has those of
version 2.
"""

import json
from _thread import allocate_lock
from json.encoder import c_make_encoder, encode_basestring

MIN_INT = -(1 << 63)
MAX_INT = (1 << 64) - 1
# Deep enough for any data, and safe for the stack of every peer.
MAX_DEPTH = 64

BYTES_TYPES = (bytes, bytearray, memoryview)

_LEAVES = frozenset((str, bool, float, bytes, type(None)))


class EncodeError(Exception):
    """A value that cannot be encoded; says why."""


class DecodeError(Exception):
    """A payload that is no message; says why."""

    def __init__(self, problem, request_id=None):
        """request_id: the id within it, if there is one to be read."""
        super().__init__(problem)
        self.request_id = request_id


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


def _refuse_constant(token):
    raise ValueError(f"{token} is no JSON")


json_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode


def _make_json_encode():
    encoder = json.JSONEncoder(
        ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    if c_make_encoder is None:
        return encoder.encode
    # What encode() makes anew for each value; a third of the time that a small one takes.
    chunks_of = c_make_encoder(
        None, encoder.default, encode_basestring, None, ":", ",", False, False, False
    )
    join = "".join
    return lambda value: join(chunks_of(value, 0))


json_encode = _make_json_encode()  # values that have been checked: they hold no cycle


class JsonCodec:
    """Messages as UTF-8 JSON."""

    name = "json"

    def decode(self, data):
        """The value of bytes. Raises DecodeError."""
        try:
            return json_decode(str(data, "utf-8"))
        except (ValueError, RecursionError) as error:
            raise DecodeError(str(error)) from None

    def encode(self, message):
        """The bytes of a message. Raises EncodeError."""
        try:
            check_message(message)
            return json_encode(message).encode("utf-8")
        except (TypeError, ValueError, RecursionError) as error:
            raise EncodeError(str(error)) from None


class MessagePackCodec:
    """Messages as MessagePack, bytes and text told apart. Needs python3-msgpack."""

    name = "msgpack"

    def __init__(self):
        """Raises ImportError when there is no msgpack package."""
        import msgpack

        self._unpack = msgpack.unpackb
        # A packer has one buffer for all that it packs.
        self._pack = msgpack.Packer(use_bin_type=True).pack
        self._lock = allocate_lock()

    def decode(self, data):
        """The value of bytes, by the rules for legacy peers. Raises DecodeError."""
        try:
            if not needs_hooks(data):
                return self._unpack(data, ext_hook=refuse_extension)
        except Exception:  # what follows reads more, and says what is wrong
            pass
        try:
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
        except Exception as error:
            raise self._decode_error(error, data) from None

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

    def _decode_error(self, error, data):
        # What is MessagePack, but not as the protocol has it, may have an id.
        request_id = None
        try:
            message = self._unpack(data, raw=True, strict_map_key=False)
            request_id = message.get(b"id")
        except Exception:  # nothing to be read
            pass
        if type(request_id) is not int or request_id <= 0:
            request_id = None
        return DecodeError(str(error) or type(error).__name__, request_id)


def refuse_extension(code, _data):
    """Raises ValueError. PROTOCOL.md 2.2.6."""
    raise ValueError(f"an extension (type {code})")


def needs_hooks(data):
    """Whether MessagePack may hold a key of bytes, or an extension that msgpack knows.

    A bin begins with one of the first three; a timestamp, for which there is no ext_hook, is of
    type -1 and has 4, 8 or 12 bytes. Looking for these is quicker than looking at each value, and
    looking for one byte is quicker than looking for two.
    """
    if 0xC4 in data or 0xC5 in data or 0xC6 in data:
        return True
    return 0xFF in data and (
        b"\xd6\xff" in data or b"\xd7\xff" in data or b"\xc7\x0c\xff" in data
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
        return json_decode(text)
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
