"""Who the client is: the lines of `X-Forwarded-For`, or of `Forwarded`."""

from ipaddress import ip_address, ip_network
from typing import Final, get_args

from server_kit.asgi import Scope
from server_kit.proxies import Header, TrustedProxies

WORDS: Final = (
    *(b"for=", b'for="[2001:db8::1]:4711"', b"proto=https;", b";by=203.0.113.43", b","),
    *(b"10.0.0.1", b"203.0.113.7:80", b"::ffff:10.0.0.1", b"fe80::1%eth0", b"unknown"),
    *(b"_hidden", b'\\"', b'"', b"[", b"]", b"\n"),
)
_PROXY: Final = "10.0.0.9"
_CLIENT: Final = "203.0.113.7"
_NETWORK: Final = ip_network("10.0.0.0/8")
_QUOTED: Final = rb';by="a, \"b", for="[2001:db8::1]:80";by="_c,d"'
_LONGEST: Final = 45  # characters of an address
_OF_ADDRESSES: Final = frozenset("0123456789abcdef.:")


def run(data: bytes) -> None:
    """Ask by number and by network, and what whoever comes first may change."""
    values = data.split(b"\n")
    for header in get_args(Header):
        for hops in (1, 2):
            _check(TrustedProxies(hops=hops, header=header), values, header)
        ours = TrustedProxies(networks=[str(_NETWORK)], header=header)
        _check(ours, values, header)
        assert ours.client_of(_scope(header, values, peer=_CLIENT)) == _CLIENT
        _is_not_moved(header, values)


def _check(proxies: TrustedProxies, values: list[bytes], header: Header) -> str:
    found = proxies.client_of(_scope(header, values))
    assert found is not None
    assert len(found) <= _LONGEST
    assert _OF_ADDRESSES.issuperset(found)
    assert str(ip_address(found)) == found  # one address is written in one way
    return found


def _is_not_moved(header: Header, values: list[bytes]) -> None:
    """Let our proxy add what it knows, in whichever way, to what a client sent."""
    said = b"for=" * (header == "forwarded") + _CLIENT.encode()
    for sent in ([*values, said], [*values[:-1], values[-1] + b", " + said]):
        for proxies in (
            TrustedProxies(hops=1, header=header),
            TrustedProxies(networks=[_PROXY], header=header),
        ):
            assert proxies.client_of(_scope(header, sent)) == _CLIENT
        if header == "forwarded":
            two = TrustedProxies(hops=2, header=header)
            added = _scope(header, [*sent[:-1], sent[-1] + _QUOTED])
            assert two.client_of(added) == _CLIENT
            twice = _scope(header, [*sent[:-1], sent[-1] + b";for=10.0.0.8"])
            assert two.client_of(twice) == _PROXY


def _scope(header: Header, values: list[bytes], peer: str = _PROXY) -> Scope:
    lines = [(header.encode(), value) for value in values]
    return {"type": "http", "headers": lines, "client": (peer, 4711)}
