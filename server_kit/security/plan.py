"""What one kind of response is given: a profile, worked out once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from server_kit.asgi import RawHeaders, values_of
from server_kit.security.content import around_nonces

_CONTENT: Final = b"content-security-policy"
_CACHE: Final = b"cache-control"
# Lists, RFC 9110, section 5.3: several lines say what one line with commas says.
_LISTS: Final = frozenset({_CONTENT, _CACHE, b"permissions-policy", b"referrer-policy"})


@dataclass(frozen=True, slots=True)
class Plan:
    """The headers of one kind of response. See `plan_of`."""

    pairs: RawHeaders
    names: frozenset[bytes]
    policy: tuple[bytes, ...]
    """The content security policy, cut where nonces go; empty if there is none."""

    removed: frozenset[bytes]
    override: bool

    def complete(self, headers: RawHeaders, nonce: str | None) -> RawHeaders:
        """Return `headers` less those to remove, and with ours where they have none.

        All others stay byte for byte, in order.
        """
        present = {name.lower() for name, _ in headers}
        if not present.isdisjoint(self.removed):
            headers = [pair for pair in headers if pair[0].lower() not in self.removed]
            present -= self.removed
        ours = self.pairs if nonce is None else self._with_nonce(nonce)
        if present.isdisjoint(self.names):
            return headers + ours
        return self._merged(headers, ours, present)

    def _merged(
        self, headers: RawHeaders, ours: RawHeaders, present: set[bytes]
    ) -> RawHeaders:
        """Return both, where the handler has set some of ours itself."""
        if not self.override:
            # When a response may be kept is for those to say who know what is in it.
            replaced = self.names - {_CACHE}
            headers = [pair for pair in headers if pair[0].lower() not in replaced]
            present = present - replaced
        if len(headers) > len(present):
            headers = _once(headers, self.names)
        return headers + [pair for pair in ours if pair[0] not in present]

    def _with_nonce(self, nonce: str) -> RawHeaders:
        policy = f"'nonce-{nonce}'".encode().join(self.policy)
        return [(name, policy if name == _CONTENT else v) for name, v in self.pairs]


def plan_of(
    given: Mapping[str, str | None], *, remove: frozenset[str], override: bool
) -> Plan:
    """Return the plan for a kind of response.

    Args:
        given: Values by name in lower case; None leaves the header out.
        remove: Names of headers to take off, in any case.
        override: Whether a handler's own value wins.

    """
    sent = {name: value for name, value in given.items() if value is not None}
    policy = sent.get(_CONTENT.decode())
    pieces = [] if policy is None else around_nonces(policy)
    return Plan(
        pairs=[(name.encode(), v.encode("latin-1")) for name, v in sent.items()],
        names=frozenset(name.encode() for name in sent),
        policy=tuple(piece.encode("latin-1") for piece in pieces),
        removed=frozenset(name.lower().encode() for name in remove),
        override=override,
    )


def _once(headers: RawHeaders, names: frozenset[bytes]) -> RawHeaders:
    """Return `headers` with each of `names` in one line, where its first was."""
    kept: RawHeaders = []
    seen = set[bytes]()
    for name, value in headers:
        lower = name.lower()
        if lower not in names:
            kept.append((name, value))
        elif lower not in seen:
            seen.add(lower)
            said = dict.fromkeys(values_of(headers, lower))
            # Of what is no list browsers heed the first, as RFC 6797, section 8.1,
            # has it, or none at all.
            kept.append((name, b", ".join(said) if lower in _LISTS else value))
    return kept
