"""The request's id and trace, on every record that is logged while it is served."""

import logging
from collections.abc import MutableMapping
from typing import Any

from resilient_http import context


class RequestIdFilter(logging.Filter):
    """Give records a `request_id` and a `trace_id`, which formatters can name.

    Add it to handlers: what loggers further down log does not pass the filters of
    those above. Both are None outside a request. A record that has one keeps it::

        handler.addFilter(server_kit.RequestIdFilter())
        handler.setFormatter(logging.Formatter("%(request_id)s %(message)s"))
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let `record` pass, completed."""
        known = vars(record)
        for name, value in _known().items():
            if known.get(name) is None:
                known[name] = value
        return True


def add_request_id(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Give an event of structlog the `request_id` and `trace_id`; a processor.

    What is there stays, and outside a request nothing is added.
    """
    for name, value in _known().items():
        if value is not None:
            event.setdefault(name, value)
    return event


def _known() -> dict[str, str | None]:
    return {"request_id": context.request_id.get(), "trace_id": trace_id()}


def trace_id() -> str | None:
    """Return the id of the trace that the request belongs to; None if it has none."""
    known = context.traceparent.get()
    return None if known is None else known.split("-", 2)[1]
