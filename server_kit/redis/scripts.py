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


class Call:
    """A script and what it is given, which may be run again and again.

    Args:
        script: What to run.
        keys: All that it touches, in one slot of a cluster.
        args: Strings, bytes or numbers.

    Attributes:
        packed: What is sent for it, for who sends it to keep; None: nobody has yet.

    """

    __slots__ = ("args", "keys", "packed", "script")

    def __init__(
        self, script: Script, keys: Sequence[str], args: Sequence[Any]
    ) -> None:
        self.script = script
        self.keys = keys
        self.args = args
        self.packed: bytes | None = None

    def by_name(self) -> tuple[Any, ...]:
        """Return the command for a server that knows the script."""
        return ("EVALSHA", self.script.name, len(self.keys), *self.keys, *self.args)

    def by_text(self) -> tuple[Any, ...]:
        """Return the command for any server."""
        return ("EVAL", self.script.text, len(self.keys), *self.keys, *self.args)


async def evaluate(client: Any, call: Call) -> Any:
    """Run a script, and return its reply, strings as bytes."""
    from redis.client import NEVER_DECODE  # noqa: PLC0415 - slow, and only here
    from redis.exceptions import NoScriptError  # noqa: PLC0415 - as above

    # Replies hold bytes, whatever a client was told to do with strings.
    raw = {NEVER_DECODE: True}
    try:
        return await client.execute_command(*call.by_name(), **raw)
    except NoScriptError:  # a new server, or its scripts were flushed
        return await client.execute_command(*call.by_text(), **raw)
