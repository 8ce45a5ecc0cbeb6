"""Content security policies, and where nonces belong in them."""

from typing import Final

_UNSAFE: Final = "'unsafe-inline'"
_CUT: Final = "\0"  # in no policy: no header can hold it


def around_nonces(policy: str) -> list[str]:
    """Return `policy` in pieces, between which `'nonce-...'` belongs.

    Scripts get one wherever the policy has a say in them. Styles only where inline
    ones are not allowed anyway: a nonce would forbid those without it.
    """
    directives: dict[str, list[str]] = {}
    for directive in policy.split(";"):
        name, *sources = directive.split() or [""]
        # Content Security Policy Level 3, section 2.2.1: of two, the first counts.
        directives.setdefault(name.lower(), sources)
    directives.pop("", None)
    for kind in ("script-src", "style-src"):
        _allow(directives, kind)
    return "; ".join(" ".join([n, *s]) for n, s in directives.items()).split(_CUT)


def _allow(directives: dict[str, list[str]], kind: str) -> None:
    for name, default in ((kind, "default-src"), (f"{kind}-elem", "")):
        sources = directives.get(name, directives.get(default))
        if sources is None or (kind == "style-src" and _UNSAFE in sources):
            continue
        directives[name] = [source for source in sources if source != "'none'"] + [_CUT]
