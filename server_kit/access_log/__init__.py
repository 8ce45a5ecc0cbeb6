"""What became of each request: for a log without secrets, and for listeners."""

from server_kit.access_log.log import AccessLog, observer_of
from server_kit.access_log.records import RequestIdFilter, add_request_id
from server_kit.access_log.served import Listener, RequestServed
from server_kit.access_log.watch import Watch

__all__ = [
    "AccessLog",
    "Listener",
    "RequestIdFilter",
    "RequestServed",
    "Watch",
    "add_request_id",
    "observer_of",
]
