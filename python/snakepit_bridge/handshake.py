"""The opening frame of a connection over stdio. PROTOCOL.md 3."""

from .budget import decoded_limit
from .calls import printable
from .lossless import LosslessJsonCodec, LosslessMessagePackCodec
from .values import JsonCodec, MessagePackCodec

FEATURES = ("stream", "session")

# The range of a peer's message limit, in bytes. PROTOCOL.md 1.2.3.
MIN_MESSAGE_LIMIT, MAX_MESSAGE_LIMIT = 1024, (1 << 31) - 1

_CODECS = {
    "json": (JsonCodec, LosslessJsonCodec),
    "msgpack": (MessagePackCodec, LosslessMessagePackCodec),
}


class NoAgreement(Exception):
    """The offer cannot be accepted. The message says why."""


class Agreement:
    """The outcome of the handshake.

    codec: the codec of that version. version: 1 or 2. features: those that both sides have.
    send_limit: int, bytes: the largest payload that both sides take.
    """

    def __init__(self, codec, version=1, features=(), send_limit=None):
        self.codec = codec
        self.version = version
        self.features = features
        self.send_limit = send_limit


def agree(offer, worker, max_frame_bytes):
    """The Agreement on an offer and the members of the answer. Raises NoAgreement."""
    version = offer.get("version", 1)
    if type(version) is not int or version < 1:
        raise NoAgreement(f"version must be an integer of at least 1, not {_shown(version)}")
    version = min(version, 2)
    offered = _list(offer.get("supported"))
    preferred = offer.get("preferred")
    codec = None
    for name in ([preferred] if preferred in offered else []) + offered:
        codec = _codec(name, version, max_frame_bytes)
        if codec is not None:
            break
    if codec is None:
        served = [name for name in ("msgpack", "json") if _codec(name, version, 0)]
        raise NoAgreement(
            f"no common codec: the pool offers {_shown(offered)}, the worker has {served}"
        )
    answer = {"type": "protocol_selected", "protocol": codec.name}
    if version == 1:
        return Agreement(codec, send_limit=max_frame_bytes), answer
    send_limit = offer.get("max_frame_bytes", max_frame_bytes)
    if type(send_limit) is not int or not MIN_MESSAGE_LIMIT <= send_limit <= MAX_MESSAGE_LIMIT:
        raise NoAgreement(
            f"max_frame_bytes must be an integer from {MIN_MESSAGE_LIMIT} to {MAX_MESSAGE_LIMIT},"
            f" not {_shown(send_limit)}"
        )
    wanted = _list(offer.get("features"))
    features = [feature for feature in FEATURES if feature in wanted]
    answer.update(
        version=2,
        features=features,
        worker_id=worker.worker_id,
        capacity=worker.capacity,
        max_frame_bytes=max_frame_bytes,
    )
    return Agreement(codec, 2, features, min(send_limit, max_frame_bytes)), answer


def _shown(value):
    """A short text of a value of the offer, which may be large."""
    if type(value) is not list:
        return _shown_item(value)
    shown = [_shown_item(item) for item in value[:5]] + ["…"] * (len(value) > 5)
    return f"[{', '.join(shown)}]"


def _shown_item(value):
    if type(value) in (list, dict):
        return f"a {type(value).__name__}"
    return printable(repr(value[:50] if type(value) is str else value))[:100]


def _list(value):
    return value if type(value) is list else []


def _codec(name, version, max_frame_bytes):
    codecs = _CODECS.get(name) if type(name) is str else None
    try:
        return codecs[version - 1](decoded_limit(max_frame_bytes)) if codecs else None
    except ImportError:  # its package is not installed
        return None
