"""Problems in the OpenAPI document: declared by routes, and implied by what they use.

`raises` declares; the rest is done by `wrap` for FastAPI and Litestar, when somebody
asks for the OpenAPI document.
"""

from server_kit.openapi.raises import Raises, declared_by, raises

__all__ = ["Raises", "declared_by", "raises"]
