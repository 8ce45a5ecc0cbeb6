from server_kit.security.middleware import SecurityHeadersMiddleware
from server_kit.security.nonce import csp_nonce
from server_kit.security.profile import DEFAULT, SecurityHeaders
from server_kit.security.responses import STARTS, secured

__all__ = [
    "DEFAULT",
    "STARTS",
    "SecurityHeaders",
    "SecurityHeadersMiddleware",
    "csp_nonce",
    "secured",
]
