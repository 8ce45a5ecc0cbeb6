"""How the kit talks to Redis, Valkey, or a cluster of them: by scripts, by asyncio."""

from server_kit.redis.clients import check_redis
from server_kit.redis.link import RedisLink, RedisUnavailableError
from server_kit.redis.scripts import Script

__all__ = ["RedisLink", "RedisUnavailableError", "Script", "check_redis"]
