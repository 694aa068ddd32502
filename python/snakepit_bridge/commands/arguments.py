"""Checks of arguments. The errors name the argument and the value that it must have."""

import math

from ..calls import InvalidArgument


def require_number(name, value):
    """Raises InvalidArgument unless the value is a finite number."""
    if type(value) not in (int, float) or not math.isfinite(value):
        raise InvalidArgument(f"{name} is a finite number, not {value!r}")


def require_integer(name, value, least):
    """Raises InvalidArgument unless the value is an integer of at least `least`."""
    if type(value) is not int or value < least:
        raise InvalidArgument(f"{name} is an integer of at least {least}, not {value!r}")


def require_text(name, value):
    """Raises InvalidArgument unless the value is a non-empty text."""
    if not isinstance(value, str) or not value:
        raise InvalidArgument(f"{name} is a text that is not empty, not {value!r}")


def require_bool(name, value):
    """Raises InvalidArgument unless the value is true or false."""
    if type(value) is not bool:
        raise InvalidArgument(f"{name} is true or false, not {value!r}")
