"""Checks of arguments. The errors have the form of those of the C++ SDK:
`"count" must be an integer of at least 1, not "three"`.
"""

import json
import math
from binascii import b2a_base64

from ..calls import InvalidArgument

# The most characters of a value that an error shows.
_MOST_SHOWN = 256


def refusal(name, wanted, value):
    """The InvalidArgument that says what the argument must be, and what it is."""
    return InvalidArgument(f'"{name}" must be {wanted}, not {_shown(value)}')


def require_number(name, value, least=None, most=None):
    """Raises InvalidArgument unless the value is a finite number in the range."""
    fits = type(value) in (int, float) and math.isfinite(value)
    if fits and (least is None or value >= least) and (most is None or value <= most):
        return
    raise refusal(name, _with_range("a finite number", least, most), value)


def require_integer(name, value, least):
    """Raises InvalidArgument unless the value is an integer of at least `least`."""
    if type(value) is not int or value < least:
        raise refusal(name, _with_range("an integer", least, None), value)


def require_text(name, value):
    """Raises InvalidArgument unless the value is a non-empty text."""
    if not isinstance(value, str) or not value:
        raise refusal(name, "a text that is not empty", value)


def require_bool(name, value):
    """Raises InvalidArgument unless the value is true or false."""
    if type(value) is not bool:
        raise refusal(name, "true or false", value)


def _with_range(kind, least, most):
    if least is not None and most is not None:
        return f"{kind} from {least} to {most}"
    return kind if least is None else f"{kind} of at least {least}"


def _shown(value):
    """The beginning of the value's JSON. Bytes, and a number alone that JSON lacks, have the tags
    of the C++ SDK; such a number inside the value is shown as NaN or Infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        name = "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"
        return f'{{"$double":"{name}"}}'
    text = ""
    for part in _ENCODER.iterencode(value):
        text += part
        if len(text) > _MOST_SHOWN:
            return text[:_MOST_SHOWN] + "…"
    return text


def _tagged(value):
    if isinstance(value, (bytes, bytearray)):
        return {"$bytes": b2a_base64(value[:_MOST_SHOWN], newline=False).decode()}
    return str(value)


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_tagged)
