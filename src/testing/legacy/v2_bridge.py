"""The legacy v2 worker: stdio, JSON or MessagePack, negotiated or fixed.

Start: python3 v2_bridge.py --mode pool-worker --protocol auto|json|msgpack
"""

import argparse
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import msgpack  # noqa: E402

import legacy_stdio  # noqa: E402


def bin_to_str(value):
    """A bin that happens to be UTF-8 becomes a str, map keys included."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value
    if isinstance(value, list):
        return [bin_to_str(item) for item in value]
    if isinstance(value, dict):
        return {bin_to_str(key): bin_to_str(item) for key, item in value.items()}
    return value


class MsgpackCodec:
    """A frame that is no MessagePack is retried as JSON; the answer is MessagePack."""

    name = "msgpack"

    def decode(self, payload):
        try:
            value = msgpack.unpackb(payload, raw=False, strict_map_key=False)
        except Exception:
            return json.loads(payload.decode("utf-8"))
        return bin_to_str(value)

    def encode(self, message):
        try:
            return msgpack.packb(message, use_bin_type=True)
        except (TypeError, ValueError, OverflowError) as error:
            raise legacy_stdio.UnencodableResult(str(error)) from error


CODECS = {"json": legacy_stdio.JsonCodec, "msgpack": MsgpackCodec}


def negotiate():
    """The codec after the first frame, which is swallowed if it is no negotiation."""
    payload = legacy_stdio.read_frame()
    try:
        message = json.loads(payload.decode("utf-8"))
        if message.get("type") != "protocol_negotiation":
            return CODECS["json"]()
        supported = [name for name in message.get("supported", []) if name in CODECS]
        preferred = message.get("preferred")
        if preferred not in supported:
            preferred = supported[0] if supported else "json"
    except Exception:
        return CODECS["json"]()
    reply = {
        "type": "protocol_selected",
        "protocol": preferred,
        "timestamp": legacy_stdio.iso_time(),
    }
    legacy_stdio.write_frame(json.dumps(reply).encode("utf-8"))
    return CODECS[preferred]()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", default="pool-worker")
    parser.add_argument("--protocol", choices=["auto", *CODECS], default="auto")
    options = parser.parse_args()
    legacy_stdio.end_at_once_on_sigterm()
    try:
        if options.protocol == "auto":
            codec = negotiate()
        else:
            codec = CODECS[options.protocol]()
    except legacy_stdio.EndOfInput:
        return 0
    commands = legacy_stdio.Commands(version="2.0.0")
    return legacy_stdio.serve(
        codec, lambda request: legacy_stdio.answer(commands, request)
    )


if __name__ == "__main__":
    sys.exit(main())
