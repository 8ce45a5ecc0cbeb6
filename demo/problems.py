"""What shop and payments may answer instead, declared once for both ends of a call."""

from resilient_http import AppException, Contract


class CardDeclined(AppException):
    """The bank said no. Asking again will not change its mind."""

    type = "card-declined"
    title = "Card Declined"
    status = 402
    retry = "never"
    reason: str


PAYMENTS = Contract(CardDeclined, type_base="https://payments.example/problems/")
"""Spoken between shop and payments."""


class OutOfStock(AppException):
    """The shelf is empty, or nearly."""

    type = "out-of-stock"
    title = "Out of Stock"
    status = 409
    sku: str
    available: int = 0


class PaymentDeclined(AppException):
    """The order stands, but cannot be paid like that."""

    type = "payment-declined"
    title = "Payment Declined"
    status = 402
    order: str
    reason: str


class PaymentsUnreachable(AppException):
    """Payments could not be reached, or broke off while it answered."""

    type = "payments-unreachable"
    title = "Payments Unreachable"
    status = 503
    order: str
    sends: int
    last: str
    """What the last send ended with, such as `ConnectError`."""


SHOP = Contract(
    OutOfStock,
    PaymentDeclined,
    PaymentsUnreachable,
    type_base="https://shop.example/problems/",
)
"""Spoken between shop and its callers."""

OWN = (OutOfStock, PaymentDeclined, PaymentsUnreachable)
"""The classes that are shop's own, none of them built in."""
