"""A connection beside those of a client's pool: for one script at a time, and cheap.

To take a connection from a pool and see whether it is alive costs about as much as the
round trip itself.
"""

import math
from collections.abc import Sequence
from typing import Any

from server_kit.redis.scripts import Script


class OwnConnection:
    """One connection, made as those of `pool` are, and not counted among them.

    Args:
        pool: Of a `redis.asyncio.Redis`.

    """

    def __init__(self, pool: Any) -> None:
        self._connection = pool.make_connection()
        self.is_busy = False
        """Whether a script is running on it. Others have to go elsewhere."""

    async def evaluate(
        self, script: Script, keys: Sequence[str], args: Sequence[Any]
    ) -> Any:
        """Run `script`, and return its reply, strings as bytes.

        Raises:
            Exception: Whatever is wrong. The connection is made anew next time.

        """
        from redis.exceptions import (  # noqa: PLC0415 - slow, and only here
            ConnectionError as Gone,
        )
        from redis.exceptions import NoScriptError  # noqa: PLC0415 - as above

        self.is_busy = True
        was_open = self._connection.is_connected
        command = (script.name, len(keys), *keys, *args)
        try:
            try:
                return await self._ask("EVALSHA", *command)
            except Gone:
                if not was_open:
                    raise
                # A server that was started anew has closed what was open.
                return await self._ask("EVALSHA", *command)
            except NoScriptError:  # a new server, or its scripts were flushed
                return await self._ask("EVAL", script.text, *command[1:])
        except BaseException:
            # A reply may be on its way; or another server be in charge by now.
            await self._connection.disconnect(nowait=True)
            raise
        finally:
            self.is_busy = False

    async def aclose(self) -> None:
        """Close it."""
        await self._connection.disconnect()

    async def _ask(self, *command: Any) -> Any:
        await self._connection.send_packed_command(
            _packed(self._connection, command), check_health=False
        )
        return await self._connection.read_response(
            disable_decoding=True, timeout=math.inf
        )


def _packed(connection: Any, command: tuple[Any, ...]) -> Any:
    try:
        from hiredis import pack_command  # noqa: PLC0415 - it need not be there
    except ImportError:
        return connection.pack_command(*command)
    return pack_command(command)
