"""Refusing settings that make no sense, where they are made.

By a `TypeError` or `ValueError` that names the field and shows the value.
"""

import math


def check_seconds(
    config: object, name: str, *, above: float | None = None, optional: bool = False
) -> None:
    """Let pass a finite number of at least 0, or above `above`."""
    value = getattr(config, name)
    if value is None and optional:
        return
    least = "of at least 0" if above is None else f"above {above}"
    must_be = f"a finite number of seconds {least}" + (", or None" if optional else "")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(wrong(config, name, must_be))
    is_too_low = value < 0 if above is None else value <= above
    if is_too_low or not math.isfinite(value):
        raise ValueError(wrong(config, name, must_be))


def check_count(config: object, name: str, *, least: int = 1) -> None:
    """Let pass an int of at least `least`."""
    value = getattr(config, name)
    must_be = f"an int of at least {least}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(wrong(config, name, must_be))
    if value < least:
        raise ValueError(wrong(config, name, must_be))


def check_flag(config: object, name: str) -> None:
    """Let pass True and False."""
    if not isinstance(getattr(config, name), bool):
        raise TypeError(wrong(config, name, "True or False"))


def check_callable(config: object, name: str) -> None:
    """Let pass what can be called, and None."""
    value = getattr(config, name)
    if value is not None and not callable(value):
        raise TypeError(wrong(config, name, "callable, or None"))


def check_path(config: object, name: str, path: object) -> None:
    """Let pass a path, of those in the field called `name`, that begins with /."""
    if not isinstance(path, str) or not path.startswith("/"):
        raise ValueError(wrong(config, name, "paths that begin with /"))


def wrong(config: object, name: str, must_be: str) -> str:
    """Say what a field must be, and what it is."""
    value = getattr(config, name)
    return f"{type(config).__name__}.{name} must be {must_be}, got {value!r}"
