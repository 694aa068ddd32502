"""The members of a request over stdio, and the errors of requests, in both versions."""

from .calls import HANDLER_FAILED, INVALID_ARGUMENT, MESSAGE_TOO_LARGE, CallError, printable

MAX_ID = (1 << 53) - 1
BAD_ID = "the id of a request must be an integer from 1 to 2^53 - 1"


def read_request(message):
    """The (id, command, args) of a request. Raises CallError."""
    request_id, command = message.get("id"), message.get("command")
    if type(request_id) is not int or not 0 < request_id <= MAX_ID:
        raise CallError(INVALID_ARGUMENT, BAD_ID, True)
    if type(command) is not str:
        raise CallError(INVALID_ARGUMENT, "the command of a request must be a text", True)
    args = message.get("args")
    if type(args) is not dict:
        if args is not None:
            raise CallError(INVALID_ARGUMENT, "the args of a request must be a map", True)
        args = {}
    return request_id, command, args


def is_id(value):
    """True if the value can be the id of a request. PROTOCOL.md 2.3.1."""
    return type(value) is int and 0 < value <= MAX_ID


def cut(text, limit):
    """The text of an error, cut to fit a message of that many bytes in any encoding."""
    return text[: limit // 8]


def answerable(request_id):
    """The id for the answer to an invalid request: the given id if it is an int64, else None."""
    return request_id if is_int64(request_id) else None


def is_int64(value):
    """True if the value is an integer that every codec and peer can hold."""
    return type(value) is int and -(1 << 63) <= value < 1 << 63


def not_decoded(frame, codec, error):
    """The text of the error for a payload that cannot be decoded."""
    if error.is_too_large:
        return printable(error)
    return (
        f"malformed message: invalid {codec.shown_name}: {printable(error)},"
        f" in a frame of {len(frame)} bytes"
    )


def cannot_encode(error):
    """The CallError for a result or chunk that cannot be encoded."""
    return CallError(HANDLER_FAILED, f"the result cannot be encoded: {printable(error)}")


def check_size(payload, limit):
    """Raises CallError if the payload has more bytes than the limit."""
    if len(payload) > limit:
        raise CallError(
            MESSAGE_TOO_LARGE,
            f"a result of {len(payload)} bytes is over the frame limit of {limit}",
        )
