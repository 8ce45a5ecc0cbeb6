"""Scripts in Lua, and how one is run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Script:
    """A script in Lua, and the name by which Redis has it."""

    text: str
    name: str = field(init=False)

    def __post_init__(self) -> None:
        # Redis' choice of a digest, and no secret.
        name = sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "name", name)

    @classmethod
    def of(cls, *files: Path) -> "Script":
        """Return what `files` are together, one after the other."""
        return cls("".join(file.read_text() for file in files))


async def evaluate(
    client: Any, script: Script, keys: Sequence[str], args: Sequence[Any]
) -> Any:
    """Run `script`, and return its reply, strings as bytes."""
    from redis.client import NEVER_DECODE  # noqa: PLC0415 - slow, and only here
    from redis.exceptions import NoScriptError  # noqa: PLC0415 - as above

    # Replies hold bytes, whatever a client was told to do with strings.
    raw = {NEVER_DECODE: True}
    count = len(keys)
    try:
        return await client.execute_command(
            "EVALSHA", script.name, count, *keys, *args, **raw
        )
    except NoScriptError:  # a new server, or its scripts were flushed
        return await client.execute_command(
            "EVAL", script.text, count, *keys, *args, **raw
        )
