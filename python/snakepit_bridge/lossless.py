"""Values without loss: the codecs of version 2. PROTOCOL.md 6.12.

Every value of PROTOCOL.md 0.6 comes back equal, type for type and bit for bit.
"""

from binascii import a2b_base64, b2a_base64
from math import isfinite
from struct import pack, unpack

from .calls import NO_CHUNK
from .values import (
    BYTES_TYPES,
    DecodeError,
    EncodeError,
    JsonCodec,
    MessagePackCodec,
    check,
    json_decode,
    json_encode,
    needs_hooks,
    refuse_extension,
    refuse_timestamps,
)

_LOWER_HEX = frozenset("0123456789abcdef")

class LosslessJsonCodec(JsonCodec):
    """JSON, with tags for what it has no form for: bytes, NaN and infinities."""

    def decode(self, data):
        """The message of bytes, the args within it without tags. Raises DecodeError."""
        request_id = None
        try:
            text = str(data, "utf-8")
            message = json_decode(text)
            # Only these can stand for a tag or for half a character.
            if ("$" in text or "\\u" in text) and type(message) is dict:
                request_id = message.get("id")
                if "args" in message:
                    message["args"] = untagged(message["args"])
            return message
        except (ValueError, RecursionError) as error:
            raise DecodeError(str(error), request_id) from None

    def encode_result(self, request_id, result):
        """The bytes of a success. Raises EncodeError."""
        return _utf8(
            f'{{"id":{request_id},"success":true,"result":{_json_value(result)}}}'
        )

    def encode_chunk(self, request_id, index, final, chunk):
        """The bytes of a chunk message; chunk may be NO_CHUNK. Raises EncodeError."""
        ending = "}" if chunk is NO_CHUNK else f',"chunk":{_json_value(chunk)}}}'
        return _utf8(
            f'{{"id":{request_id},"type":"chunk","index":{index},'
            f'"final":{"true" if final else "false"}{ending}'
        )


class LosslessMessagePackCodec(MessagePackCodec):
    """MessagePack, with text as the only keys and without extensions."""

    def decode(self, data):
        """The value of bytes. Raises DecodeError."""
        try:
            if needs_hooks(data):
                return self._unpack(
                    data,
                    object_hook=_with_text_keys,
                    list_hook=refuse_timestamps,
                    ext_hook=refuse_extension,
                )
            return self._unpack(data, ext_hook=refuse_extension)
        except Exception as error:
            raise self._decode_error(error, data) from None

    def encode_value(self, value):
        """The bytes of a value. Raises EncodeError."""
        check(value)
        return self._packed(value)

    def encode_result(self, request_id, result):
        """The bytes of a success. Raises EncodeError."""
        check(result)
        return self._packed({"id": request_id, "success": True, "result": result})

    def encode_chunk(self, request_id, index, final, chunk):
        """The bytes of a chunk message; chunk may be NO_CHUNK. Raises EncodeError."""
        message = {"id": request_id, "type": "chunk", "index": index, "final": final}
        if chunk is not NO_CHUNK:
            check(chunk)
            message["chunk"] = chunk
        return self._packed(message)


def tagged(value):
    """The value with tags in place of what JSON has no form for."""
    if isinstance(value, float):
        if isfinite(value):
            return value
        return {"$double": pack(">d", value).hex()}
    if isinstance(value, BYTES_TYPES):
        return {"$bytes": b2a_base64(value, newline=False).decode("ascii")}
    if isinstance(value, dict):
        items = {key: tagged(item) for key, item in value.items()}
        if len(items) == 1:
            ((key, item),) = items.items()
            if key.startswith("$"):
                return {"$" + key: item}
        return items
    if isinstance(value, (list, tuple)):
        return [tagged(item) for item in value]
    return value


def untagged(value):
    """What tagged() was given. Raises ValueError where it can have given no such value."""
    kind = type(value)
    if kind is str:
        return _whole_text(value)
    if kind is list:
        return [untagged(item) for item in value]
    if kind is not dict:
        return value
    if len(value) == 1:
        ((key, item),) = value.items()
        if key.startswith("$$"):
            return {_whole_text(key[1:]): untagged(item)}
        if key.startswith("$"):
            return _read_tag(key, item)
    return {_whole_text(key): untagged(item) for key, item in value.items()}


def _read_tag(name, content):
    if name == "$bytes" and type(content) is str and content.isascii():
        data = a2b_base64(content)
        # The decoder skips what is not of the alphabet.
        if b2a_base64(data, newline=False) == content.encode("ascii"):
            return data
    elif name == "$double" and type(content) is str and len(content) == 16:
        if _LOWER_HEX.issuperset(content):
            (number,) = unpack(">d", bytes.fromhex(content))
            if not isfinite(number):
                return number
    raise ValueError(f"a map with the one key {name[:32]!a} is no tag")


def _whole_text(text):
    if not text.isascii():
        text.encode("utf-8")  # half a character, a lone surrogate, is a ValueError
    return text


def _json_value(value):
    check(value)
    try:
        text = json_encode(value)
        # A map whose first key begins with a dollar; within a text the quote is escaped.
        if '{"$' not in text:
            return text
    except (TypeError, ValueError):
        pass  # bytes, NaN or an infinity
    try:
        return json_encode(tagged(value))
    except (TypeError, ValueError) as error:
        raise EncodeError(str(error)) from None


def _utf8(text):
    try:
        return text.encode("utf-8")
    except ValueError as error:
        raise EncodeError(str(error)) from None


def _with_text_keys(items):
    for key in items:
        if type(key) is not str:
            raise ValueError("a key is bytes, not text")
    refuse_timestamps(items.values())
    return items
