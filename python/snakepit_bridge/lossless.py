"""The lossless codecs of version 2. PROTOCOL.md 6.12.

Every value of PROTOCOL.md 0.6 comes back with the same type and the same bits.
"""

from binascii import a2b_base64, b2a_base64
from math import isfinite
from struct import pack, unpack

from .calls import NO_CHUNK
from .values import (
    BYTES_TYPES,
    CONTAINERS,
    MAX_DEPTH,
    DecodeError,
    EncodeError,
    JsonCodec,
    MessagePackCodec,
    check,
    check_json_values,
    check_nesting,
    check_number,
    json_encode,
    needs_hooks,
    out_of_memory,
    refuse_extension,
    refuse_timestamps,
    whole_text,
)

_LOWER_HEX = frozenset("0123456789abcdef")


class LosslessJsonCodec(JsonCodec):
    """JSON, with tags for bytes, NaN and infinities."""

    def _finish(self, message, text, data):
        # A tag begins with a dollar, which may be written as an escape.
        if "args" in message and ("$" in text or "\\u" in text):
            args = untagged(message.pop("args"))
            check_json_values(message, text, data, -1)
            message["args"] = args
        else:
            check_json_values(message, text, data, -1)

    def _id_in(self, message):
        return None if "type" in message else message.get("id")

    def encode_result(self, request_id, result):
        """The bytes of a success. Raises EncodeError."""
        return _utf8(f'{{"id":{request_id},"success":true,"result":{_json_value(result)}}}')

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
        """The message of bytes. Raises DecodeError."""
        # Most messages are small and have none of the bytes that needs_hooks() looks for first.
        if len(data) < self._smallest_to_check and not (
            0xC4 in data or 0xC5 in data or 0xC6 in data or 0xFF in data
        ):
            try:
                message = self._unpack(data, ext_hook=refuse_extension)
                args = message.get("args")
                if args and not CONTAINERS.isdisjoint(map(type, args.values())):
                    check_nesting(args)
                return message
            except Exception:  # the slow path below reports and counts the error
                pass
        return super().decode(data)

    def _value(self, data):
        if needs_hooks(data):
            return self._unpack(
                data,
                object_hook=_with_text_keys,
                list_hook=refuse_timestamps,
                ext_hook=refuse_extension,
            )
        return self._unpack(data, ext_hook=refuse_extension)

    def _id_in(self, message):
        return None if "type" in message else message.get("id")

    def decode_args(self, data):
        """The arguments, any value, of bytes that are no message. Raises DecodeError."""
        if len(data) >= self._smallest_to_check:
            self._check_message_pack(data)
        try:
            args = self._value(data)
        except Exception as error:
            self._refused(data)
            if isinstance(error, MemoryError):
                raise out_of_memory(data) from None
            raise DecodeError(str(error) or type(error).__name__) from None
        if type(args) is dict:
            try:
                check_nesting(args)
            except ValueError as error:
                raise DecodeError(str(error)) from None
        return args

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
    """The value with tags in place of bytes, NaN and infinities."""
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


def untagged(value, depth=0):
    """The inverse of tagged(); changes lists and dicts in place. Raises ValueError.

    depth: int, the number of arrays and maps around the value; a tag does not count as one.
    """
    kind = type(value)
    if kind is str:
        return whole_text(value)
    if kind is int or kind is float:
        check_number(value)
    if kind is not list and kind is not dict:
        return value
    if kind is dict and len(value) == 1:
        ((key, item),) = value.items()
        if key.startswith("$$"):
            value = {key[1:]: item}
        elif key.startswith("$"):
            return _read_tag(key, item)
    if depth >= MAX_DEPTH:
        raise ValueError(f"a value is nested over {MAX_DEPTH} deep")
    if kind is list:
        for index, item in enumerate(value):
            value[index] = untagged(item, depth + 1)
    else:
        for key, item in value.items():
            value[whole_text(key)] = untagged(item, depth + 1)
    return value


def _read_tag(name, content):
    if name == "$bytes" and type(content) is str and content.isascii():
        data = a2b_base64(content)
        # The decoder skips characters outside the alphabet.
        if b2a_base64(data, newline=False) == content.encode("ascii"):
            return data
    elif name == "$double" and type(content) is str and len(content) == 16:
        if _LOWER_HEX.issuperset(content):
            (number,) = unpack(">d", bytes.fromhex(content))
            if not isfinite(number):
                return number
    raise ValueError(f"a map with the single key {name[:32]!a} is no tag")


def _json_value(value):
    check(value)
    try:
        text = json_encode(value)
        # This would be a map whose first key begins with a dollar; a text's quotes are escaped.
        if '{"$' not in text:
            return text
    except (TypeError, ValueError):
        pass  # it holds bytes, NaN or an infinity
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
