"""The installed wheel, used by a stranger: no checkout, no extras but the server's."""

import asyncio
import sys
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import resilient_http
import server_kit
from resilient_http.patterns import CircuitBreaker
from resilient_http.problems import AppException, Contract


class OutOfStock(AppException):
    """The shelf is empty."""

    type = "out-of-stock"
    title = "Out of stock"
    status = 409
    sku: str


async def order(request: Request) -> Response:
    """Refuse every order."""
    raise OutOfStock("None left", sku=request.path_params["sku"])


async def main() -> None:
    """Raise a problem at one end and catch it at the other."""
    contract = Contract(OutOfStock)
    app = server_kit.wrap(Starlette(routes=[Route("/{sku}", order)]), contract=contract)
    transport = httpx.ASGITransport(app=app)
    async with resilient_http.AsyncClient(
        transport=transport, base_url="http://shop", contract=contract
    ) as client:
        try:
            (await client.get("/A1")).raise_for_status()
        except OutOfStock as error:
            print(f"caught {error!r}, request {error.request_id}")
        else:
            sys.exit("the problem was lost on its way")


checkout = Path(sys.argv[1]).resolve()
for package in (resilient_http, server_kit):
    where = Path(package.__file__).resolve()
    if checkout in where.parents:
        sys.exit(f"{package.__name__} came from the checkout: {where}")
    if not (where.parent / "py.typed").exists():
        sys.exit(f"{package.__name__} is installed without its types")
CircuitBreaker("smoke")
asyncio.run(main())
