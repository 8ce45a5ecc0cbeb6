"""Who the client is, where proxies stand between it and the server.

Proxies write down whom they speak for, each after what it was sent; so the end of the
list is theirs, and the beginning anybody's. It is read from its end, as far as proxies
are known to be ours.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import islice
from typing import Final, Literal, TypeAlias, get_args

from server_kit.asgi import Scope, values_of
from server_kit.checks import check_count, wrong

Header: TypeAlias = Literal["x-forwarded-for", "forwarded"]

KEY: Final = "server_kit.trusted_proxies"
"""Where in the ASGI scope they stand, for all that serves the request."""

UNIX: Final = "unix:"
"""How a proxy on a Unix socket is named, as nginx does."""

# [v6], [v6]:port, v4:port; a port may be obfuscated (RFC 7239, section 6).
_WITH_PORT: Final = re.compile(
    r"(?:\[(?P<v6>[^\]]*)\]|(?P<v4>[0-9.]+))(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?"
)
# RFC 7239, section 4. Values that should be quoted are not, often; what they are worth
# is seen when they are read as addresses.
_PAIR: Final = re.compile(r'\s*(?:([^\s=;"]+)=("(?:[^"\\]|\\.)*"|[^\s;"]*))?\s*(?:;|$)')


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedProxies:
    """Which proxies are believed when they tell whom they speak for.

    Either by their number, `TrustedProxies(hops=1)`, or by their addresses,
    `TrustedProxies(networks=["10.0.0.0/8"])`. What they say is read from one header:
    a proxy passes on the other one as the client has sent it.

    Raises:
        TypeError: A field is of the wrong type.
        ValueError: A field is out of its range, or there are both `hops` and
            `networks`, or neither.

    """

    hops: int | None = None
    """How many proxies every request comes through. Whoever can reach the server past
    them can say to be anybody."""

    networks: Iterable[str] | None = None
    """Where proxies are: addresses, networks such as "10.0.0.0/8", and "unix:" for
    what comes through a Unix socket. Others are not believed."""

    header: Header = "x-forwarded-for"
    """Where they write it: "x-forwarded-for", or "forwarded" (RFC 7239)."""

    _known: tuple[IPv4Network | IPv6Network | str, ...] = field(
        default=(), init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if (self.hops is None) == (self.networks is None):
            raise ValueError(wrong(self, "hops", "given, or networks, and not both"))
        if self.hops is not None:
            check_count(self, "hops")
        if self.networks is not None:
            object.__setattr__(self, "networks", self._listed())
            known = tuple(self._network(name) for name in self.networks or ())
            object.__setattr__(self, "_known", known)
        if self.header not in get_args(Header):
            raise ValueError(wrong(self, "header", " or ".join(get_args(Header))))

    def _listed(self) -> tuple[str, ...]:
        given: object = self.networks
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise TypeError(wrong(self, "networks", "a collection of networks"))
        listed = tuple(given)
        if not listed:
            raise ValueError(wrong(self, "networks", "at least one"))
        return listed

    def _network(self, name: object) -> IPv4Network | IPv6Network | str:
        if name == UNIX:
            return UNIX
        if not isinstance(name, str):
            raise TypeError(wrong(self, "networks", "text"))
        try:
            return ip_network(name)
        except ValueError as error:
            must_be = f"networks ({error})"
            raise ValueError(wrong(self, "networks", must_be)) from None

    def client_of(self, scope: Scope) -> str | None:
        """Return the address of the nearest that is no proxy of ours.

        What a proxy tells that is no address ("unknown", "_hidden", garbage) leaves
        the proxy itself. None: a Unix socket, whose other end told of nobody.
        """
        at = peer_of(scope)
        for told in islice(self._told(scope), self.hops):
            if self.hops is None and not self._is_known(at):
                break
            address = _address(told)
            if address is None:
                break
            at = address
        return at

    def _is_known(self, host: str | None) -> bool:
        if host is None:
            return UNIX in self._known
        address = _address(host)
        if address is None:  # a name, as test clients have
            return False
        found = ip_address(address)
        return any(found in it for it in self._known if not isinstance(it, str))

    def _told(self, scope: Scope) -> Iterator[str]:
        """Yield for whom each proxy spoke, the nearest first."""
        lines = values_of(scope.get("headers") or (), self.header.encode())
        is_quoting = self.header == "forwarded"
        for line in reversed([line.decode("latin-1") for line in lines]):
            for entry in _from_the_end(line) if is_quoting else line.split(",")[::-1]:
                told = entry.strip()
                if told:  # RFC 9110, section 5.6.1.2
                    yield _for(told) if is_quoting else told


def trust(scope: Scope, proxies: TrustedProxies | None) -> None:
    """Have what serves the request of `scope` believe `proxies`.

    What is further out has decided, if it has said anything.
    """
    if proxies is not None:
        scope.setdefault(KEY, proxies)


def peer_of(scope: Scope) -> str | None:
    """Return the address of the other end of the socket; None for a Unix socket."""
    peer = scope.get("client")
    return str(peer[0]) if peer and peer[0] else None


def client_of(scope: Scope) -> str | None:
    """Return the client's address, as far as proxies are trusted here."""
    proxies = scope.get(KEY)
    return peer_of(scope) if proxies is None else proxies.client_of(scope)


def _from_the_end(line: str) -> Iterator[str]:
    """Yield the entries of a `Forwarded` line, the last one first.

    From the end, so that a quote that a client has left open ends where its text does.
    """
    end, is_quoted = len(line), False
    for at in range(len(line) - 1, -1, -1):
        if line[at] == '"' and not _is_escaped(line, at):
            is_quoted = not is_quoted
        elif line[at] == "," and not is_quoted:
            yield line[at + 1 : end]
            end = at
    yield line[:end]


def _is_escaped(line: str, at: int) -> bool:
    first = at
    while first > 0 and line[first - 1] == "\\":
        first -= 1
    return (at - first) % 2 == 1


def _for(entry: str) -> str:
    """Return what one entry of `Forwarded` says of its client; "" for nothing."""
    found, at = [], 0
    while at < len(entry):
        pair = _PAIR.match(entry, at)
        if pair is None:
            return ""
        name, value = pair.groups()
        if name is not None and name.lower() == "for":
            found.append(value)
        at = pair.end()
    if len(found) != 1:  # RFC 7239, section 4: at most once
        return ""
    value = found[0]
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _address(text: str) -> str | None:
    """Return `text` as an address, its port and zone taken off; None if it is none."""
    host = text
    found = _WITH_PORT.fullmatch(text)
    if found is not None:
        host = found["v6"] or found["v4"] or ""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        # A zone may be any text, and means something to who wrote it alone.
        address = IPv6Address(int(address))
    return str(address)
