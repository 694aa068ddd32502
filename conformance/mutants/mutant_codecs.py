"""The encodings of the mutant worker over stdio. PROTOCOL.md 2.2 and 6.12."""

import json
import struct
from base64 import b64decode, b64encode
from math import isfinite

import msgpack


class Undecodable(Exception):
    """A payload that cannot be decoded."""


def tagged(value):
    """The value with tags for the kinds that JSON lacks. PROTOCOL.md 6.12.2."""
    if isinstance(value, float) and not isfinite(value):
        return {"$double": struct.pack(">d", value).hex()}
    if isinstance(value, bytes):
        return {"$bytes": b64encode(value).decode()}
    if isinstance(value, list):
        return [tagged(item) for item in value]
    if isinstance(value, dict):
        escape = "$" if len(value) == 1 and next(iter(value)).startswith("$") else ""
        return {escape + key: tagged(item) for key, item in value.items()}
    return value


def untagged(value):
    """The inverse of tagged()."""
    if isinstance(value, list):
        return [untagged(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, item),) = value.items()
        if key == "$bytes":
            return b64decode(item)
        if key == "$double":
            return struct.unpack(">d", bytes.fromhex(item))[0]
        if key.startswith("$$"):
            return {key[1:]: untagged(item)}
    return {key: untagged(item) for key, item in value.items()}


def no_constant(token):
    raise Undecodable(f"{token} is not JSON")


def from_json(payload, bug):
    try:
        constants = float if bug == "takes-nan-tokens" else no_constant
        value = json.loads(payload.decode(), parse_constant=constants)
        if bug != "takes-lone-surrogates":
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError) as error:
        raise Undecodable(str(error)) from None


def from_msgpack(payload):
    try:
        return msgpack.unpackb(payload, raw=False)
    except Exception as error:
        raise Undecodable(str(error)) from None
