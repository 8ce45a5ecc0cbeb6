"""The stricter profiles, and exceptions from any of them."""

from dataclasses import replace
from typing import Any

import pytest

from server_kit import SecurityHeaders
from server_kit.asgi import RawHeaders

OWASP = SecurityHeaders.owasp()

# https://owasp.org/www-project-secure-headers/: ci/headers_remove.json
REMOVED = """
$wsep Host-Header K-Proxy-Request Liferay-Portal OracleCommerceCloud-Version Pega-Host
Powered-By Product Server SourceMap TeamCity-Node-Id X-AspNet-Version
X-AspNetMvc-Version X-Atmosphere-error X-Atmosphere-first-request
X-Atmosphere-tracking-id X-B3-ParentSpanId X-B3-Sampled X-B3-SpanId X-B3-TraceId
X-BEServer X-Backside-Transport X-CF-Powered-By X-CMS X-CalculatedBETarget
X-Cocoon-Version X-Content-Encoded-By X-Datadog-Origin X-Datadog-Parent-Id
X-Datadog-Sampling-Priority X-Datadog-Tags X-Datadog-Trace-Id X-DiagInfo
X-Envoy-Attempt-Count X-Envoy-External-Address X-Envoy-Internal
X-Envoy-Original-Dst-Host X-Envoy-Upstream-Service-Time X-FEServer X-Framework
X-Generated-By X-Generator X-Gitlab-Meta X-Jitsi-Release X-Joomla-Version
X-Kong-Admin-Latency X-Kong-Client-Latency X-Kong-Proxy-Latency X-Kong-Request-Id
X-Kong-Response-Latency X-Kong-Third-Party-Latency X-Kong-Total-Latency
X-Kong-Upstream-Latency X-Kong-Upstream-Status X-Kubernetes-PF-FlowSchema-UI
X-Kubernetes-PF-PriorityLevel-UID X-LiteSpeed-Cache X-LiteSpeed-Purge X-LiteSpeed-Tag
X-LiteSpeed-Vary X-Litespeed-Cache-Control X-Mod-Pagespeed X-Nextjs-Cache
X-Nextjs-Matched-Path X-Nextjs-Page X-Nextjs-Redirect X-OWA-Version
X-Old-Content-Length X-OneAgent-JS-Injection X-Page-Speed X-Php-Version X-Powered-By
X-Powered-By-Plesk X-Powered-CMS X-Redirect-By X-Server-Powered-By X-SourceFiles
X-SourceMap X-Turbo-Charged-By X-Tyk-Trace-Id X-Umbraco-Version X-Varnish-Backend
X-Varnish-Server X-Woodpecker-Version X-dtAgentId X-dtHealthCheck X-dtInjectedServlet
X-ruxit-JS-Agent
""".split()  # noqa: SIM905 - a table to be read
OF_TRACES = {name for name in REMOVED if name.startswith(("X-B3-", "X-Datadog-"))} | {
    "X-Kong-Request-Id",
    "X-Tyk-Trace-Id",
}


def applied(
    security: SecurityHeaders,
    headers: RawHeaders | None = None,
    path: str = "/",
    status: int = 200,
) -> RawHeaders:
    plan = security.for_path(path).plan(path, status, is_tls=True)
    return plan.complete(headers or [], None)


def as_text(headers: RawHeaders) -> dict[str, str]:
    names = [name for name, _ in headers]
    assert len(names) == len(set(names))
    return {name.decode(): value.decode("latin-1") for name, value in headers}


@pytest.mark.case("OW-1", "OW-3", "OW-4", "OW-5", "OW-6", "OW-7")
@pytest.mark.case("OW-9", "OW-10", "OW-11", "OW-12", "OW-13")
def test_the_owasp_profile_is_what_owasp_proposes() -> None:
    headers = as_text(applied(OWASP))
    assert headers.pop("permissions-policy")
    assert headers == {
        "strict-transport-security": "max-age=63072000; includeSubDomains",
        "x-frame-options": "deny",
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'self'; form-action 'self'; "
        "base-uri 'self'; object-src 'none'; frame-ancestors 'none'; "
        "upgrade-insecure-requests",
        "x-permitted-cross-domain-policies": "none",
        "referrer-policy": "no-referrer",
        "cross-origin-embedder-policy": "require-corp",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-store, max-age=0",
        "x-dns-prefetch-control": "off",
    }


@pytest.mark.case("OW-8")
def test_no_page_may_use_any_of_29_features() -> None:
    allowed = as_text(applied(OWASP))["permissions-policy"].split(", ")
    features = dict(entry.split("=") for entry in allowed)
    assert len(features) == len(allowed) == 29
    assert features.pop("sync-xhr") == "(self)"
    assert set(features.values()) == {"()"}
    assert features.keys() >= {"camera", "geolocation", "microphone", "usb", "unload"}


@pytest.mark.case("OW-9")
@pytest.mark.parametrize("security", [OWASP, replace(OWASP, override=False)])
def test_how_long_a_response_may_be_kept_is_for_its_handler_to_say(
    security: SecurityHeaders,
) -> None:
    headers = applied(security, [(b"Cache-Control", b"max-age=60")])
    assert [v for n, v in headers if n.lower() == b"cache-control"] == [b"max-age=60"]


@pytest.mark.case("OW-12", "OW-13")
@pytest.mark.parametrize(
    "name",
    [
        *(b"X-XSS-Protection", b"Expect-CT", b"Public-Key-Pins", b"Feature-Policy"),
        *(b"Public-Key-Pins-Report-Only", b"Pragma"),
    ],
)
def test_what_browsers_have_given_up_is_not_sent(name: bytes) -> None:
    assert applied(OWASP, [(name, b"1")]) == applied(OWASP)


@pytest.mark.case("OW-15")
@pytest.mark.parametrize("name", REMOVED)
def test_no_header_of_owasps_list_leaves_the_app(name: str) -> None:
    headers = [(name.encode(), b"1"), (name.lower().encode(), b"2")]
    assert applied(OWASP, headers) == applied(OWASP)
    assert applied(SecurityHeaders.api(), headers) == applied(SecurityHeaders.api())


@pytest.mark.case("OW-15")
@pytest.mark.parametrize("name", REMOVED)
def test_ids_of_traces_may_stay(name: str) -> None:
    for security in (
        SecurityHeaders(),
        SecurityHeaders.owasp(tracing=True),
        SecurityHeaders.api(tracing=True),
    ):
        headers = applied(security, [(name.encode(), b"1")])
        assert (headers == applied(security)) is (name not in OF_TRACES)


def test_the_profile_for_apis_allows_nothing_to_load() -> None:
    assert as_text(applied(SecurityHeaders.api())) == {
        "strict-transport-security": "max-age=63072000; includeSubDomains",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "x-frame-options": "deny",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "x-permitted-cross-domain-policies": "none",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-store, max-age=0",
    }


@pytest.mark.parametrize("profile", [SecurityHeaders.owasp, SecurityHeaders.api])
def test_a_profile_can_be_changed_field_by_field(profile: Any) -> None:
    security = profile(cache_control=None, x_frame_options="SAMEORIGIN")
    headers = as_text(applied(security))
    assert "cache-control" not in headers
    assert headers["x-frame-options"] == "SAMEORIGIN"
    with pytest.raises(TypeError, match="x_frame_option'"):
        profile(x_frame_option="deny")


@pytest.mark.parametrize(
    ("path", "framed"),
    [
        ("/embed", "SAMEORIGIN"),
        ("/embed/", "SAMEORIGIN"),
        ("/embed/a/b", "SAMEORIGIN"),
        ("/embed/no", "deny"),
        ("/embed/no/more", "SAMEORIGIN"),
        ("/embedded", "deny"),
        ("/x/embed", "deny"),
        ("/", "deny"),
        ("", "deny"),
    ],
)
def test_an_exception_holds_for_its_path_and_those_below(
    path: str, framed: str
) -> None:
    one = OWASP.at("/embed/*", x_frame_options="SAMEORIGIN")
    for security in (
        one.at("/embed/no", x_frame_options="deny"),
        OWASP.at("/embed/no").at("/embed/*", x_frame_options="SAMEORIGIN"),
    ):
        headers = as_text(applied(security, path=path))
        assert headers["x-frame-options"] == framed
        assert headers["referrer-policy"] == "no-referrer"


def test_an_exception_may_leave_out_and_hold_everywhere() -> None:
    security = OWASP.at("/*", content_security_policy=None)
    assert "content-security-policy" not in as_text(applied(security, path="/any"))


@pytest.mark.parametrize("pattern", ["embed", "", "/a*", "/a/*/b", "*"])
def test_a_pattern_is_a_path_or_all_below_one(pattern: str) -> None:
    with pytest.raises(ValueError, match="routes must be paths") as refused:
        OWASP.at(pattern)
    assert repr(pattern) in str(refused.value)


def test_an_exception_is_checked_as_the_rule_is() -> None:
    with pytest.raises(ValueError, match="referrer_policy"):
        OWASP.at("/a", referrer_policy="a\r\nb")
    with pytest.raises(TypeError, match="x_frame_option'"):
        OWASP.at("/a", x_frame_option="deny")


@pytest.mark.case("OW-14")
def test_browsers_forget_where_users_log_out_and_nowhere_else() -> None:
    security = SecurityHeaders.owasp(logout_paths=frozenset({"/logout"}))
    asked = as_text(applied(security, path="/logout"))
    assert asked["clear-site-data"] == '"cache","cookies","storage"'
    for path, status in [("/", 200), ("/logout/x", 200), ("/logout", 403)]:
        headers = as_text(applied(security, path=path, status=status))
        assert "clear-site-data" not in headers


@pytest.mark.case("OW-14", "OW-17")
def test_what_a_handler_has_browsers_forget_is_not_doubled() -> None:
    security = SecurityHeaders(logout_paths=frozenset({"/logout"}))
    headers = applied(security, [(b"clear-site-data", b'"*"')], path="/logout")
    assert as_text(headers)["clear-site-data"] == '"*"'


@pytest.mark.case("OW-17")
def test_a_handlers_value_is_replaced_where_it_may_not_override() -> None:
    security = SecurityHeaders().at("/admin/*", override=False)
    theirs = [(b"X-Frame-Options", b"ALLOWALL"), (b"a", b"b")]
    assert as_text(applied(security, theirs, "/"))["X-Frame-Options"] == "ALLOWALL"
    headers = as_text(applied(security, theirs, "/admin/x"))
    assert "X-Frame-Options" not in headers
    assert (headers["x-frame-options"], headers["a"]) == ("DENY", "b")


@pytest.mark.case("OW-4", "OW-17", "OW-18")
def test_what_a_handler_has_set_twice_is_sent_once() -> None:
    headers = applied(
        SecurityHeaders(),
        [
            (b"set-cookie", b"a=1"),
            (b"X-Content-Type-Options", b"nosniff"),
            (b"content-security-policy", b"default-src 'self'"),
            (b"x-content-type-options", b"nosniff"),
            (b"set-cookie", b"a=1"),
            (b"x-frame-options", b"DENY"),
            (b"x-frame-options", b"SAMEORIGIN"),
            (b"Content-Security-Policy", b"img-src 'none'"),
            (b"content-security-policy", b"default-src 'self'"),
        ],
    )
    assert headers[:5] == [
        (b"set-cookie", b"a=1"),
        (b"X-Content-Type-Options", b"nosniff"),
        # One line, both policies: browsers enforce either way.
        (b"content-security-policy", b"default-src 'self', img-src 'none'"),
        (b"set-cookie", b"a=1"),
        (b"x-frame-options", b"DENY"),
    ]
    added = [name for name, _ in headers[5:]]
    assert len(added) == len(set(added)) == 5


def test_profiles_are_values() -> None:
    assert SecurityHeaders.owasp() == SecurityHeaders.owasp()
    assert len({SecurityHeaders(), SecurityHeaders(), SecurityHeaders.api()}) == 2
    assert repr(SecurityHeaders(x_frame_options="x")) in repr(
        SecurityHeaders().at("/a", x_frame_options="x")
    )
