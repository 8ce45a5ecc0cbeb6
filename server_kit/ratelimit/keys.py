"""Whose quota a request counts against."""

from collections.abc import Mapping
from hashlib import sha256
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final

from starlette.requests import HTTPConnection

from server_kit.asgi import Scope, local_path
from server_kit.frameworks.ahead import endpoint_ahead
from server_kit.proxies import client_of
from server_kit.routes import Endpoint, endpoint_of

NO_ADDRESS: Final = "local"
"""The client of a Unix socket, which has none."""

UNMATCHED: Final = "unmatched"
"""The endpoint of all that there is no route for, whatever path and method."""

_IPV6_SITE: Final = 64  # what a subscriber is given: RFC 6177, section 2


def client_key(scope: Scope) -> str:
    """Return the key of the client: its address, or an IPv6 /64.

    That is the other end of the socket: `X-Forwarded-For` and its like are read where
    `TrustedProxies` say who may write them, as anybody can send them.
    """
    address = client_of(scope)
    return f"client:{NO_ADDRESS if address is None else _site(address)}"


def user_key(request: HTTPConnection) -> str:
    """Return the key of the user, or the client's where nobody is known to be one.

    The user is `request.state.user`, else `request.scope["user"]` (as Starlette's
    `AuthenticationMiddleware` sets it) if authenticated; known by `id`, as an attribute
    or an item, else by Starlette's `display_name`; or itself a string or an integer.
    Whatever sets it must run before the rate limit: a middleware, or an earlier
    dependency.
    """
    for user in (getattr(request.state, "user", None), request.scope.get("user")):
        identity = _identity(user)
        if identity is not None:
            return f"user:{identity}"
    return client_key(request.scope)


def api_key_key(request: HTTPConnection) -> str:
    """Return the key of the `X-API-Key` header, or the client's where there is none.

    A digest of it, so that a store never holds a credential. Whether the key is a valid
    one is not known here: who makes up keys needs to be stopped by a limit on clients.
    """
    given = request.headers.get("x-api-key")
    if not given:
        return client_key(request.scope)
    return f"api-key:{sha256(given.encode('latin-1')).hexdigest()}"


def endpoint_key(scope: Scope) -> str:
    """Return the key of the endpoint that a framework has found: methods, and template.

    /items/1 and /items/2 are the same endpoint. Where the framework does not tell the
    route, it is the method and the path of the request.
    """
    endpoint = endpoint_of(scope)
    if endpoint is None:
        return f"{scope.get('method', scope['type'])} {local_path(scope)}"
    return _written(endpoint, scope)


def route_key(app: object, scope: Scope) -> str:
    """Return the key of the endpoint that `app` will find; one for all that is none."""
    endpoint = endpoint_ahead(app, scope)
    return UNMATCHED if endpoint is None else _written(endpoint, scope)


def _written(endpoint: Endpoint, scope: Scope) -> str:
    # Not the method of the request where the route has none: it is the client's.
    methods = ",".join(sorted(endpoint.methods)) or scope["type"]
    return f"{methods} {endpoint.template}"


def _site(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        return host  # a name, as test clients have
    if not isinstance(address, IPv6Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((int(address), _IPV6_SITE), strict=False))


def _identity(user: object) -> str | None:
    found = user if isinstance(user, str | int) else _id_of(user)
    return None if found is None else str(found)


def _id_of(user: object) -> object:
    if isinstance(user, Mapping):
        return user.get("id")
    if not getattr(user, "is_authenticated", True):
        return None
    found = getattr(user, "id", None)
    return getattr(user, "display_name", None) if found is None else found
