"""What the profiles are made of: policies, and names of headers to take off."""

from typing import Final

OWN_CONTENT: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)

# What the pages that FastAPI and Litestar serve load: Swagger UI, ReDoc, Scalar,
# RapiDoc and Elements from their CDNs, ReDoc's and Scalar's fonts, logos, workers made
# from blobs, the frameworks' icons. Requests that a reader tries out go to the service.
DOCS_CONTENT: Final = (
    "default-src 'self'; "
    "script-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net "
    "https://cdn.redoc.ly https://unpkg.com; "
    "style-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net "
    "https://fonts.googleapis.com https://unpkg.com; "
    "img-src 'self' data: https://fastapi.tiangolo.com https://cdn.redoc.ly "
    "https://cdn.jsdelivr.net; "
    "font-src 'self' data: https://fonts.gstatic.com https://fonts.scalar.com; "
    "connect-src 'self'; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)

# The OWASP Secure Headers Project, https://owasp.org/www-project-secure-headers/:
# its ci/headers_add.json and ci/headers_remove.json as of 2026-09-13.
OWASP_HSTS: Final = "max-age=63072000; includeSubDomains"
OWASP_CONTENT: Final = (
    "default-src 'self'; form-action 'self'; base-uri 'self'; object-src 'none'; "
    "frame-ancestors 'none'; upgrade-insecure-requests"
)
API_CONTENT: Final = "default-src 'none'; frame-ancestors 'none'"
CLEAR: Final = '"cache","cookies","storage"'
OWASP_PERMISSIONS: Final = ", ".join(
    f"{feature}={'(self)' if feature == 'sync-xhr' else '()'}"
    for feature in (
        *("accelerometer", "autoplay", "camera", "cross-origin-isolated"),
        *("display-capture", "encrypted-media", "fullscreen", "geolocation"),
        *("gyroscope", "keyboard-map", "magnetometer", "microphone", "midi"),
        *("payment", "picture-in-picture", "publickey-credentials-get"),
        *("screen-wake-lock", "sync-xhr", "usb", "web-share"),
        *("xr-spatial-tracking", "clipboard-read", "clipboard-write", "gamepad"),
        *("hid", "idle-detection", "interest-cohort", "serial", "unload"),
    )
)

TRACING: Final = frozenset(
    {
        *("x-b3-parentspanid", "x-b3-sampled", "x-b3-spanid", "x-b3-traceid"),
        *("x-datadog-origin", "x-datadog-parent-id", "x-datadog-sampling-priority"),
        *("x-datadog-tags", "x-datadog-trace-id", "x-kong-request-id"),
        "x-tyk-trace-id",
    }
)
"""Those of OWASP's removals that tie a response to its trace, and tell little else."""

_PROXIES: Final = frozenset(
    {
        *("host-header", "k-proxy-request", "x-backside-transport"),
        *("x-envoy-attempt-count", "x-envoy-external-address", "x-envoy-internal"),
        *("x-envoy-original-dst-host", "x-envoy-upstream-service-time"),
        *("x-kong-admin-latency", "x-kong-client-latency", "x-kong-proxy-latency"),
        *("x-kong-response-latency", "x-kong-third-party-latency"),
        *("x-kong-total-latency", "x-kong-upstream-latency", "x-kong-upstream-status"),
        *("x-kubernetes-pf-flowschema-ui", "x-kubernetes-pf-prioritylevel-uid"),
        *("x-litespeed-cache", "x-litespeed-cache-control", "x-litespeed-purge"),
        *("x-litespeed-tag", "x-litespeed-vary", "x-mod-pagespeed", "x-page-speed"),
        *("x-old-content-length", "x-turbo-charged-by"),
        *("x-varnish-backend", "x-varnish-server"),
    }
)
_SOFTWARE: Final = frozenset(
    {
        *("$wsep", "liferay-portal", "oraclecommercecloud-version", "pega-host"),
        *("powered-by", "product", "server", "teamcity-node-id"),
        *("x-aspnet-version", "x-aspnetmvc-version", "x-atmosphere-error"),
        *("x-atmosphere-first-request", "x-atmosphere-tracking-id", "x-beserver"),
        *("x-calculatedbetarget", "x-cf-powered-by", "x-cms", "x-cocoon-version"),
        *("x-content-encoded-by", "x-diaginfo", "x-dtagentid", "x-dthealthcheck"),
        *("x-dtinjectedservlet", "x-feserver", "x-framework", "x-generated-by"),
        *("x-generator", "x-gitlab-meta", "x-jitsi-release", "x-joomla-version"),
        *("x-nextjs-cache", "x-nextjs-matched-path", "x-nextjs-page"),
        *("x-nextjs-redirect", "x-oneagent-js-injection", "x-owa-version"),
        *("x-php-version", "x-powered-by", "x-powered-by-plesk", "x-powered-cms"),
        *("x-redirect-by", "x-ruxit-js-agent", "x-server-powered-by"),
        *("x-umbraco-version", "x-woodpecker-version"),
    }
)
_SOURCES: Final = frozenset({"sourcemap", "x-sourcefiles", "x-sourcemap"})
_OURS: Final = frozenset({"x-runtime"})  # Rails and its kin, not on OWASP's list

DISCLOSING: Final = _SOFTWARE | _PROXIES | _SOURCES | _OURS
"""What names software, versions, hosts and files: OWASP's removals but `TRACING`."""

OBSOLETE: Final = frozenset(
    {
        *("expect-ct", "feature-policy", "pragma", "public-key-pins"),
        *("public-key-pins-report-only", "x-xss-protection"),
    }
)
"""What browsers ignore by now, or are the worse for."""
