"""Who the client is, behind proxies that are trusted and before those that are not."""

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

from server_kit import AccessLog, RateLimiter, RateLimitMiddleware, TrustedProxies, wrap
from server_kit.asgi import Receive, Scope, Send
from server_kit.proxies import Header, client_of, peer_of, trust
from tests.server.apps import AnyApp, serve

PROXY = "10.0.0.9"
ONE = TrustedProxies(hops=1)
OURS = TrustedProxies(networks=["10.0.0.0/8", "fd00::/8", "192.0.2.7"])
FORWARDED = TrustedProxies(hops=1, header="forwarded")


def scope_of(*lines: str, peer: str | None = PROXY, name: str = "") -> Scope:
    header = name or "X-Forwarded-For"
    headers = [(header.lower().encode(), line.encode("latin-1")) for line in lines]
    client = None if peer is None else (peer, 4711)
    return {"type": "http", "path": "/", "headers": headers, "client": client}


def forwarded(*lines: str, peer: str | None = PROXY) -> Scope:
    return scope_of(*lines, peer=peer, name="Forwarded")


@pytest.mark.case("S25")
def test_who_comes_directly_is_the_peer_whatever_it_says() -> None:
    for scope in (scope_of("1.2.3.4"), forwarded("for=1.2.3.4")):
        assert client_of(scope) == PROXY
    assert OURS.client_of(scope_of("1.2.3.4", peer="203.0.113.5")) == "203.0.113.5"


@pytest.mark.case("S25")
@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ([], PROXY),
        (["203.0.113.5"], "203.0.113.5"),
        (["1.2.3.4, 203.0.113.5"], "203.0.113.5"),
        (["1.2.3.4,203.0.113.5 "], "203.0.113.5"),
        (["1.2.3.4", "203.0.113.5"], "203.0.113.5"),
        (["203.0.113.5, ,"], "203.0.113.5"),
        (["203.0.113.5", ""], "203.0.113.5"),
    ],
)
def test_one_proxy_wrote_the_last_entry(lines: list[str], client: str) -> None:
    assert ONE.client_of(scope_of(*lines)) == client


@pytest.mark.case("S25")
@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["1.2.3.4, 203.0.113.5, 198.51.100.2"], "203.0.113.5"),
        (["1.2.3.4", "203.0.113.5", "198.51.100.2"], "203.0.113.5"),
        (["203.0.113.5"], "203.0.113.5"),
        ([], PROXY),
    ],
)
def test_two_proxies_wrote_the_last_two(lines: list[str], client: str) -> None:
    assert TrustedProxies(hops=2).client_of(scope_of(*lines)) == client


@pytest.mark.case("S25")
@pytest.mark.parametrize(
    ("line", "client"),
    [
        ("1.2.3.4, 203.0.113.5, 10.1.1.1", "203.0.113.5"),
        ("1.2.3.4, 203.0.113.5, 10.1.1.1, 192.0.2.7, fd00::1", "203.0.113.5"),
        ("203.0.113.5, ::ffff:10.1.1.1", "203.0.113.5"),
        ("203.0.113.5, 192.0.2.8", "192.0.2.8"),
        ("10.3.3.3, 10.2.2.2", "10.3.3.3"),  # all are ours: the furthest
    ],
)
def test_by_address_it_is_the_rightmost_that_is_not_trusted(
    line: str, client: str
) -> None:
    assert OURS.client_of(scope_of(line)) == client
    assert OURS.client_of(scope_of(line, peer="::ffff:10.0.0.9")) == client


@pytest.mark.case("S25")
@pytest.mark.parametrize(
    ("entry", "client"),
    [
        ("203.0.113.5:5678", "203.0.113.5"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:1234", "2001:db8::1"),
        ("[::ffff:203.0.113.5]:1234", "203.0.113.5"),
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1%\x1b[2J<script>", "fe80::1"),
        ("unknown", PROXY),
        ("_hidden", PROXY),
        ("localhost", PROXY),
        ("203.0.113", PROXY),
        ("203.0.113.005", PROXY),
        ("203.0.113.5:port", PROXY),
        ("203.0.113.5:999999", PROXY),
        ("[2001:db8::1", PROXY),
        ("[]", PROXY),
        ("[2001:db8::1]1234", PROXY),
        ('"203.0.113.5"', PROXY),
        ("\xff", PROXY),
    ],
)
def test_an_entry_is_an_address_or_ends_the_walk(entry: str, client: str) -> None:
    assert ONE.client_of(scope_of(f"1.2.3.4, {entry}")) == client


def test_garbage_leaves_the_last_that_is_trusted() -> None:
    scope = scope_of("1.2.3.4, garbage, 10.1.1.1")
    assert OURS.client_of(scope) == "10.1.1.1"
    assert TrustedProxies(hops=3).client_of(scope) == "10.1.1.1"


@pytest.mark.case("S25")
@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["for=203.0.113.5"], "203.0.113.5"),
        (["For=1.2.3.4, FOR=203.0.113.5;proto=https"], "203.0.113.5"),
        (['for="[2001:db8::1]:1234"'], "2001:db8::1"),
        (['proto=https; by=_x;for="203.0.113.5:80" '], "203.0.113.5"),
        (['for="203.0.113.5:_port"'], "203.0.113.5"),
        (['for="203\\.0.113.5"'], "203.0.113.5"),
        (["for=203.0.113.5:80"], "203.0.113.5"),  # unquoted, as many write it
        (["for=[2001:db8::1]:80"], "2001:db8::1"),
        (['for=1.2.3.4;host="a, b", for=203.0.113.5;host="c, d"'], "203.0.113.5"),
        (['for=203.0.113.5;host="a\\", for=1.2.3.4"'], "203.0.113.5"),
        (['for=1.2.3.4, for=203.0.113.5;host="a\\\\"'], "203.0.113.5"),
        (["for=1.2.3.4", "for=203.0.113.5"], "203.0.113.5"),
        ([";;for=203.0.113.5;"], "203.0.113.5"),
        (["for=unknown"], PROXY),
        (["for=_hidden"], PROXY),
        (["for=203.0.113.5;for=1.2.3.4"], PROXY),
        (["by=203.0.113.5"], PROXY),
        (["203.0.113.5"], PROXY),
        (['for="203.0.113.5'], PROXY),
        (['for="203.0.113.5"x'], PROXY),
        (["for="], PROXY),
        ([""], PROXY),
    ],
)
def test_forwarded_is_read_as_rfc_7239_has_it(lines: list[str], client: str) -> None:
    assert FORWARDED.client_of(forwarded(*lines)) == client


def test_only_the_header_that_is_configured_is_read() -> None:
    assert ONE.client_of(forwarded("for=1.2.3.4")) == PROXY
    assert FORWARDED.client_of(scope_of("1.2.3.4")) == PROXY


addresses = st.ip_addresses(v=4) | st.ip_addresses(network="2000::/3")
lines = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"))
likely = st.text(st.sampled_from('",;=\\[]: .for1'))


def told(address: str, header: str, host: str) -> str:
    """Return what a proxy writes of whom it speaks for."""
    if header == "x-forwarded-for":
        return address
    node = f"[{address}]:1" if ":" in address else address
    return f'for="{node}";host={host}'


@pytest.mark.property
@pytest.mark.case("S25")
@given(
    line=lines | likely,
    chain=st.lists(addresses.map(str), min_size=1, max_size=3),
    header=st.sampled_from(["x-forwarded-for", "forwarded"]),
    host=st.sampled_from(["shop", '"a, for=1.2.3.4"', '"\\", for=\\""']),
    apart=st.booleans(),
)
def test_nothing_a_client_writes_changes_what_proxies_say(
    line: str, chain: list[str], header: Header, host: str, apart: bool
) -> None:
    entries = [told(address, header, host) for address in chain]
    sent = [line, *entries] if apart else [", ".join([line, *entries])]
    proxies = TrustedProxies(hops=len(chain), header=header)
    assert proxies.client_of(scope_of(*sent, name=header)) == chain[0]


def test_a_long_line_of_quotes_is_read_in_one_go() -> None:
    line = '\\"' * 32_000
    assert FORWARDED.client_of(forwarded(line)) == PROXY


@pytest.mark.case("S25")
@pytest.mark.parametrize("peer", [None, ""])
def test_a_unix_socket_has_no_address(peer: str | None) -> None:
    scope = scope_of("203.0.113.5", peer=peer)
    assert peer_of(scope) is client_of(scope) is None
    assert ONE.client_of(scope) == "203.0.113.5"
    assert ONE.client_of(scope_of(peer=peer)) is None
    assert OURS.client_of(scope) is None
    assert TrustedProxies(networks=["unix:"]).client_of(scope) == "203.0.113.5"
    assert TrustedProxies(networks=["unix:"]).client_of(scope_of("1.2.3.4")) == PROXY


def test_a_peer_that_is_a_name_is_in_no_network() -> None:
    scope = scope_of("203.0.113.5", peer="testclient")
    assert OURS.client_of(scope) == "testclient"
    assert ONE.client_of(scope) == "203.0.113.5"


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({}, ValueError, "hops must be given, or networks, and not both, got None"),
        ({"hops": 1, "networks": ["10.0.0.0/8"]}, ValueError, "hops .* got 1"),
        ({"hops": 0}, ValueError, "hops must be an int of at least 1, got 0"),
        ({"hops": True}, TypeError, "hops must be an int of at least 1, got True"),
        ({"networks": "10.0.0.0/8"}, TypeError, "networks .* got '10.0.0.0/8'"),
        ({"networks": 5}, TypeError, "networks .* got 5"),
        ({"networks": []}, ValueError, "networks must be at least one"),
        ({"networks": [10]}, TypeError, "networks must be text"),
        ({"networks": ["10.0.0.1/8"]}, ValueError, "networks .*has host bits set"),
        ({"networks": ["proxy"]}, ValueError, "networks .*'proxy' does not appear"),
        ({"hops": 1, "header": "x-real-ip"}, ValueError, "header .* got 'x-real-ip'"),
    ],
)
def test_a_bad_setting_is_named(
    options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        TrustedProxies(**options)


def test_they_compare_by_what_they_say() -> None:
    assert TrustedProxies(networks=["10.0.0.0/8"]) == TrustedProxies(
        networks=("10.0.0.0/8",)
    )
    assert len({ONE, TrustedProxies(hops=1), FORWARDED}) == 2


def test_what_is_further_out_decides() -> None:
    scope = scope_of("1.2.3.4, 203.0.113.5")
    trust(scope, None)
    assert client_of(scope) == PROXY
    trust(scope, ONE)
    trust(scope, TrustedProxies(hops=2))
    assert client_of(scope) == "203.0.113.5"


async def shown(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(client_of(scope))(scope, receive, send)


async def body_of(app: AnyApp) -> bytes:
    headers = [(b"x-forwarded-for", b"1.2.3.4, 203.0.113.5")]
    served = await serve(app, "/in/x", headers=headers, client=(PROXY, 1))
    return bytes(served.sent[1]["body"])


async def test_a_wrapped_app_takes_the_word_of_the_outermost() -> None:
    two = TrustedProxies(hops=2)
    inner = wrap(shown, trusted_proxies=two)
    outer = Starlette(routes=[Mount("/in", app=inner)])
    assert await body_of(wrap(outer, trusted_proxies=ONE)) == b"203.0.113.5"
    assert await body_of(wrap(outer)) == b"1.2.3.4"
    assert await body_of(wrap(shown)) == PROXY.encode()


@pytest.mark.case("S25")
@pytest.mark.parametrize("wrapped", [False, True])
async def test_clients_behind_a_proxy_have_quotas_of_their_own(
    *, wrapped: bool
) -> None:
    limiter, proxies = RateLimiter(clock=lambda: 0.0), None if wrapped else ONE
    app = RateLimitMiddleware(shown, limiter, 1, trusted_proxies=proxies)
    app = wrap(app, trusted_proxies=ONE) if wrapped else app
    seen = []
    for line in (b"203.0.113.5", b"1.2.3.4, 203.0.113.5", b"203.0.113.6"):
        headers = [(b"x-forwarded-for", line)]
        served = await serve(app, headers=headers, client=(PROXY, 1))
        seen.append(served.sent[0]["status"])
    assert seen == [200, 429, 200]


@pytest.mark.parametrize("take", [wrap, RateLimitMiddleware])
def test_anything_else_is_refused(take: Any) -> None:
    options = {} if take is wrap else {"limiter": RateLimiter()}
    with pytest.raises(TypeError, match="trusted_proxies must be"):
        take(shown, **options, trusted_proxies=1)


async def test_the_access_log_tells_the_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = wrap(shown, trusted_proxies=ONE, access_log=AccessLog())
    with caplog.at_level(logging.INFO, "server_kit.access"):
        await body_of(app)
    assert [record.client for record in caplog.records] == ["203.0.113.5"]  # type: ignore[attr-defined] # as `extra` sets it
