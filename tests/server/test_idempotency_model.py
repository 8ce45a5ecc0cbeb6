"""Both stores play the same game as a slow and obvious table."""

from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis

from server_kit import Idempotency
from server_kit.idempotency.ledger import Ledger
from server_kit.idempotency.rules import Claim, Kept, Standing
from server_kit.idempotency.stores.in_redis import RedisStore
from tests.server.valkey import Valkey, valkey

LEASE, KEEP_FOR = 10.0, 100.0

names = st.sampled_from(["a", "b"])
tokens = st.sampled_from(["1", "2", "3"])
prints = st.sampled_from(["x", "x", "x", "y"])
answers = st.sampled_from(
    [None, Kept(201, [(b"a", b"\xff")], b"\x00\xff\n"), Kept(500, [], b"")]
)


class InMemory:
    """A ledger whose time is a number."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ledger = Ledger(
            lease=LEASE, keep_for=KEEP_FOR, max_entries=100, max_bytes=10_000
        )

    def claim(self, claim: Claim) -> Standing | Kept:
        return self.ledger.claim(claim, self.now)

    def renew(self, claim: Claim) -> bool:
        return self.ledger.renew(claim, self.now)

    def settle(self, claim: Claim, answer: Kept | None) -> bool:
        return self.ledger.settle(claim, answer, self.now)

    def release(self, claim: Claim) -> bool:
        return self.ledger.release(claim, self.now)

    def run_out(self, name: str, *, is_served: bool) -> None:
        """Let the time of one key run out, and that of no other."""
        store = self.ledger._served if is_served else self.ledger._claimed  # noqa: SLF001 - there is one clock for all keys
        if name in store:
            store[name].until = self.now
            store.move_to_end(name, last=False)

    def flush_scripts(self) -> None:
        """Do nothing: there are none."""

    def close(self) -> None:
        """Do nothing: nothing is open."""


class InValkey:
    """The scripts in a real server, whose clock is its own."""

    def __init__(self, server: Valkey, loop: Any) -> None:
        self.run: Callable[..., Any] = loop
        self.client = Redis.from_url(server.url)
        given = Idempotency(
            store=self.client, lease=LEASE, keep_for=KEEP_FOR, timeout=20
        )
        self.store = RedisStore(given)
        self.run(self.client.flushall)

    def claim(self, claim: Claim) -> Standing | Kept:
        found: Standing | Kept = self.run(self.store.claim, claim)
        return found

    def renew(self, claim: Claim) -> bool:
        return bool(self.run(self.store.renew, claim))

    def settle(self, claim: Claim, answer: Kept | None) -> bool:
        return bool(self.run(self.store.settle, claim, answer))

    def release(self, claim: Claim) -> bool:
        return bool(self.run(self.store.release, claim))

    def run_out(self, name: str, *, is_served: bool) -> None:
        """End the key's time to live, which is all that a lease is."""
        self.run(self.client.pexpire, self.key(name), 0)

    def key(self, name: str) -> str:
        return self.store.key(Claim(name, "", ""))

    def flush_scripts(self) -> None:
        self.run(self.client.script_flush)

    def time_to_live(self, name: str) -> float:
        return float(self.run(self.client.pttl, self.key(name))) / 1_000

    def close(self) -> None:
        self.run(self.client.aclose)


class Game(RuleBasedStateMachine):
    """Holders that come, go on, vanish and come back too late."""

    build: Callable[[], InMemory | InValkey]

    @initialize()
    def begin(self) -> None:
        self.store = type(self).build()
        # Who holds each key, for what, and with which answer once there is one.
        self.held: dict[str, Claim] = {}
        self.served: dict[str, tuple[Claim, Kept | None]] = {}
        self.runs: dict[str, int] = {}

    @rule(name=names, fingerprint=prints, token=tokens)
    def claim(self, name: str, fingerprint: str, token: str) -> None:
        claim = Claim(name, fingerprint, token)
        holder = self.holder(name)
        # Each claim has a token of its own.
        if holder is not None and holder.token == token:
            return
        found = self.store.claim(claim)
        if holder is None:
            assert found is Standing.CLAIMED
            self.held[name] = claim
        elif holder.fingerprint != fingerprint:
            assert found is Standing.DIFFERS
        elif name in self.held:
            assert found is Standing.RUNNING
        else:
            answer = self.served[name][1]
            assert found == (Standing.SPENT if answer is None else answer)

    @rule(name=names, token=tokens)
    def renew(self, name: str, token: str) -> None:
        assert self.store.renew(Claim(name, "x", token)) is self.is_holder(name, token)

    @rule(name=names, token=tokens, answer=answers)
    def settle(self, name: str, token: str, answer: Kept | None) -> None:
        known = self.holder(name)
        claim = Claim(name, "x" if known is None else known.fingerprint, token)
        is_free = known is None
        is_own = known is not None and known.token == token
        assert self.store.settle(claim, answer) is (is_free or is_own)
        if is_free or self.is_holder(name, token):
            self.held.pop(name, None)
            self.served[name] = claim, answer

    @rule(name=names, token=tokens)
    def release(self, name: str, token: str) -> None:
        assert self.store.release(Claim(name, "x", token)) is self.is_holder(
            name, token
        )
        if self.is_holder(name, token):
            del self.held[name]

    @rule(name=names)
    def vanish(self, name: str) -> None:
        """Crash: the holder is not heard of for a lease."""
        if name in self.held:
            self.store.run_out(name, is_served=False)
            del self.held[name]

    @rule(name=names)
    def forget(self, name: str) -> None:
        if name in self.served:
            self.store.run_out(name, is_served=True)
            del self.served[name]

    @rule()
    def flush_scripts(self) -> None:
        self.store.flush_scripts()

    @invariant()
    def every_key_has_its_time(self) -> None:
        store = getattr(self, "store", None)
        if isinstance(store, InValkey):
            for name in self.held:
                assert 0 < store.time_to_live(name) <= LEASE
            for name in self.served:
                assert LEASE < store.time_to_live(name) <= KEEP_FOR

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()

    def holder(self, name: str) -> Claim | None:
        served = self.served.get(name)
        return self.held.get(name) if served is None else served[0]

    def is_holder(self, name: str, token: str) -> bool:
        return name in self.held and self.held[name].token == token


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as running:
        yield running


@pytest.mark.property
@pytest.mark.case("S60", "IK-13")
def test_the_ledger_in_memory_is_the_table() -> None:
    class Played(Game):
        build = InMemory

    run_state_machine_as_test(Played)


@pytest.mark.property
@pytest.mark.case("S60", "IK-13")
def test_the_scripts_in_valkey_are_the_table(server: Valkey) -> None:
    with anyio.from_thread.start_blocking_portal("asyncio") as portal:

        class Played(Game):
            @staticmethod
            def build() -> InValkey:
                return InValkey(server, portal.call)

        slow = [HealthCheck.too_slow]
        run_state_machine_as_test(
            Played, settings=settings(max_examples=25, suppress_health_check=slow)
        )
