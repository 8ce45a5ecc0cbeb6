"""The demo's own promises: what it finds wrong, and that it leaves nothing behind."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from demo.problems import OutOfStock
from demo.report import conclude, faults
from demo.script import AT_FIRST, CYCLE, SCRIPT, Act, Mood, act, wish
from demo.services import Service, ServiceDied
from demo.tally import Ended, Kind, Lane, Tally
from resilient_http import DeadlineExceededException, RateLimitException
from resilient_http.problems import UpstreamException

ROOT = Path(__file__).parents[1]
CHARGES = {"ours-0001": 1}


def ended(tally: Tally, **said: Any) -> None:
    said = {"lane": Lane.OURS, "phase": 0, "at": 1.0, "seconds": 0.5, **said}
    tally.began(said["lane"], said["phase"])
    tally.ended(Ended(**said))


EXAMPLES: dict[Kind, dict[str, Any]] = {
    Kind.RETRIED: {"order": "ours-0001", "sends": ("503", "200")},
    Kind.BREAKER: {"error": UpstreamException(upstream_type="circuit-breaker-open")},
    Kind.DEADLINE: {"error": DeadlineExceededException("late")},
    Kind.RATE_LIMIT: {"error": RateLimitException(limit=4, remaining=0)},
    Kind.CONTRACT: {"error": OutOfStock(sku="samovar", available=1)},
}


def seen(*, without: Kind | None = None) -> Tally:
    tally = Tally()
    for kind, said in EXAMPLES.items():
        if kind is not without:
            ended(tally, **said)
    return tally


def concluded(tally: Tally, charges: dict[str, int] | None) -> tuple[int, str]:
    written = io.StringIO()
    code = conclude(Console(file=written, width=120), tally, charges, 40.0)
    return code, written.getvalue()


def test_a_demo_in_which_all_was_seen_succeeds() -> None:
    tally = seen()
    ended(tally, lane=Lane.PLAIN, error=httpx.ReadTimeout("of no type, and expected"))
    code, text = concluded(tally, CHARGES)
    assert code == 0
    assert "OutOfStock(sku='samovar', available=1)" in text
    assert not any(ord(character) < ord(" ") for character in text.replace("\n", ""))


@pytest.mark.parametrize("kind", Kind)
def test_a_demo_in_which_something_was_never_seen_fails(kind: Kind) -> None:
    code, text = concluded(seen(without=kind), CHARGES)
    assert code == 1
    assert f"never seen: {kind}" in text


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), KeyError("id")])
def test_an_error_of_no_type_fails_the_demo(error: Exception) -> None:
    tally = seen()
    ended(tally, error=error)
    code, text = concluded(tally, CHARGES)
    assert code == 1
    said = f"neither an answer nor a typed error, 1 times: {type(error).__name__}"
    assert said in text


def test_an_order_charged_twice_fails_the_demo() -> None:
    code, text = concluded(seen(), {**CHARGES, "plain-0007": 2})
    assert code == 1
    assert "order plain-0007 was charged 2 times" in text


def test_an_answer_without_a_charge_fails_the_demo() -> None:
    found = faults(seen(), {})
    assert found == ["order ours-0001 was answered, and never charged"]


def test_a_call_that_never_ended_fails_the_demo() -> None:
    tally = seen()
    tally.began(Lane.PLAIN, 0)
    assert faults(tally, CHARGES) == ["calls that never ended, through plain httpx: 1"]


def test_a_demo_that_was_cut_short_fails() -> None:
    code, text = concluded(seen(), None)
    assert code == 1
    assert "the demo did not get to its end" in text


def test_an_answer_is_a_retried_success_only_after_two_sends() -> None:
    tally = Tally()
    ended(tally, sends=("200",))
    assert tally.specimens == {}
    ended(tally, sends=("ReadTimeout", "200"))
    assert list(tally.specimens) == [Kind.RETRIED]
    assert tally.total(Lane.OURS).retried == 1


def test_what_plain_httpx_saw_is_no_example() -> None:
    tally = Tally()
    for said in EXAMPLES.values():
        ended(tally, lane=Lane.PLAIN, **said)
    assert tally.specimens == {}


def test_every_phase_is_long_enough_for_all_that_it_does() -> None:
    assert all(phase.orders >= CYCLE for phase in SCRIPT)
    slow = next(phase for phase in SCRIPT if phase.mood is Mood.SLOW)
    # Any two cycles on end hold a customer in a hurry and one who waits.
    assert slow.orders >= 2 * CYCLE
    assert {wish(number, Mood.SLOW).patience for number in (5, 25)} == {0.5, None}
    assert sum(phase.seconds for phase in SCRIPT) < 45


def test_a_second_send_is_answered_except_by_one_that_always_hangs() -> None:
    acts = {(mood, n, act(mood, n, 2)) for mood in Mood for n in range(CYCLE)}
    assert {found for found in acts if found[2] is not Act.ANSWER} == {
        (Mood.SLOW, 5, Act.HANG)
    }


@pytest.mark.parametrize("mood", AT_FIRST)
def test_too_few_orders_are_hurt_at_first_to_open_the_breaker(mood: Mood) -> None:
    first = [act(mood, number, 1) for number in range(CYCLE)]
    hurt = len(first) - first.count(Act.ANSWER)
    hangs = 3 * first.count(Act.HANG)
    assert (hurt + hangs) / (CYCLE + hurt + hangs) < 0.4


@pytest.fixture
def payments(tmp_path: Path) -> Iterator[Service]:
    ledger = ["--ledger", str(tmp_path / "ledger.sqlite")]
    service = Service("demo.payments", *ledger, log=tmp_path / "log")
    service.start()
    yield service
    service.close()


async def test_a_charge_whose_answer_is_lost_is_made_once(payments: Service) -> None:
    bill = {"order": "ours-0004", "number": 4, "card": "good"}
    keyed: dict[str, Any] = {"json": bill, "headers": {"Idempotency-Key": '"4"'}}
    async with httpx.AsyncClient(base_url=payments.url) as client:
        await payments.serves(client)
        await client.put("/mood", json={"mood": "resets"})
        with pytest.raises(httpx.ReadError):
            await client.post("/charges", **keyed)
        payments.kill()
        with pytest.raises(httpx.ConnectError):
            await client.post("/charges", **keyed)
        payments.start()
        await payments.serves(client)
        again = await client.post("/charges", **keyed)
        assert again.json() == {"id": 1, "replayed": True}
        # Without the key nothing holds the second one back, so that it would be found.
        await client.post("/charges", json=bill)
        assert (await client.get("/charges")).json() == {"ours-0004": 2}


async def test_half_an_answer_is_no_answer(payments: Service) -> None:
    bill = {"order": "ours-0001", "number": 1, "card": "good"}
    async with httpx.AsyncClient(base_url=payments.url) as client:
        await payments.serves(client)
        await client.put("/mood", json={"mood": "truncated"})
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/charges", json=bill)
        assert (await client.get("/charges")).json() == {"ours-0001": 1}


async def test_a_service_that_does_not_start_says_why(tmp_path: Path) -> None:
    service = Service("demo.no_such_service", log=tmp_path / "log")
    service.start()
    async with httpx.AsyncClient() as client:
        with pytest.raises(ServiceDied, match="No module named"):
            await service.serves(client)
    service.close()


def test_a_service_ends_with_whoever_started_it(payments: Service) -> None:
    process = payments._process  # noqa: SLF001 - what a parent's end does to it
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(20) == 0


def test_an_interrupted_demo_leaves_no_process_running() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "demo"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        words = demo.stdout.readline().replace(",", " ").split()
        pids = [
            int(words[at + 1]) for at, word in enumerate(words) if word == "process"
        ]
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=30)
    assert (demo.returncode, errors) == (130, "")
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
