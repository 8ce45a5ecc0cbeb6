"""How the kit talks to Redis, Valkey, or a cluster of them: by scripts, by asyncio."""

from server_kit.redis.clients import check_redis
from server_kit.redis.link import RedisLink, RedisUnavailableError
from server_kit.redis.loops import ByLoop
from server_kit.redis.scripts import Call, Script

__all__ = [
    "ByLoop",
    "Call",
    "RedisLink",
    "RedisUnavailableError",
    "Script",
    "check_redis",
]
