"""Refusing what makes no sense, where a value is made.

By a `TypeError` or `ValueError` that names the field and shows the value.
"""

import math


def wrong(config: object, name: str, must_be: str) -> str:
    """Say what a field must be, and what it is."""
    value = getattr(config, name)
    return f"{type(config).__name__}.{name} must be {must_be}, got {value!r}"


def check_kind(config: object, name: str, kind: type, *, optional: bool = True) -> None:
    """Let pass an instance of `kind`, or None where it is optional."""
    value = getattr(config, name)
    if isinstance(value, kind) or (value is None and optional):
        return
    article = "an" if kind.__name__[0] in "AEIOU" else "a"
    or_none = " or None" if optional else ""
    raise TypeError(wrong(config, name, f"{article} {kind.__name__}{or_none}"))


def check_flag(config: object, name: str) -> None:
    """Let pass True and False."""
    if not isinstance(getattr(config, name), bool):
        raise TypeError(wrong(config, name, "True or False"))


def check_count(
    config: object, name: str, *, least: int = 1, optional: bool = False
) -> None:
    """Let pass an int of at least `least`."""
    value = getattr(config, name)
    if value is None and optional:
        return
    message = f"an int of at least {least}" + (", or None" if optional else "")
    if not is_int(value):
        raise TypeError(wrong(config, name, message))
    if value < least:
        raise ValueError(wrong(config, name, message))


def check_rate(config: object, name: str) -> None:
    """Let pass a share above 0 and at most 1."""
    check_number(config, name, above=0)
    if getattr(config, name) > 1:
        raise ValueError(wrong(config, name, "a number above 0 and at most 1"))


def check_choice(config: object, name: str, choices: tuple[str | None, ...]) -> None:
    """Let pass one of `choices`."""
    value = getattr(config, name)
    if not isinstance(value, str | None) or value not in choices:
        raise ValueError(wrong(config, name, " or ".join(map(repr, choices))))


def check_number(
    config: object,
    name: str,
    *,
    least: float | None = None,
    above: float | None = None,
    optional: bool = False,
) -> None:
    """Let pass a finite number of at least `least`, or above `above`."""
    value = getattr(config, name)
    if value is None and optional:
        return
    bound = f"of at least {least}" if above is None else f"above {above}"
    message = f"a finite number {bound}" + (", or None" if optional else "")
    if not (isinstance(value, float) or is_int(value)):
        raise TypeError(wrong(config, name, message))
    too_low = (above is not None and value <= above) or (
        least is not None and value < least
    )
    if too_low or not _is_finite(value):
        raise ValueError(wrong(config, name, message))


def is_int(value: object) -> bool:
    """Whether it is a whole number; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int that no float can hold
        return False
