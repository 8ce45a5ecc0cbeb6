"""Requests and replies, as words and numbers."""

from struct import pack as pack_numbers
from struct import unpack as unpack_numbers

from server_kit.ratelimit.leases import Ahead
from server_kit.ratelimit.stores.wire import Part, Request, Stood, unpack
from server_kit.ratelimit.stores.wire import pack as packed

MINUTE = 60_000_000
A, B = Part("a", 100, MINUTE, 1), Part("b", 7, 1_000, 3)


def pack(*requests: Request) -> tuple[list[str], list[int], list[str | bytes]]:
    """Return keys, numbers and names."""
    keys, args = packed(requests, beat="", replicas="replicas", now="5")
    numbers, now, beat, *names = args
    assert (now, beat) == ("5", "")
    assert isinstance(numbers, bytes)
    return keys, [*map(int, unpack_numbers(f"<{len(numbers) // 8}d", numbers))], names


def test_a_plain_request_is_its_account_and_its_cost() -> None:
    assert pack(Request((A,))) == (["a"], [100, MINUTE, *(0, 1, 0), 1, 1, 0, 0], [])


def test_several_quotas_are_one_request() -> None:
    keys, numbers, _ = pack(Request((A, B)))
    assert keys == ["a", "b"]
    assert numbers[:4] == [100, MINUTE, 7, 1_000]
    assert numbers[4:] == [*(0, 2, 0), 1, 1, 0, 0, 2, 3, 0, 0]


def test_an_account_is_named_once_however_many_ask_about_it() -> None:
    keys, numbers, _ = pack(
        Request((A,)), Request((B, A)), Request((A._replace(cost=9),))
    )
    assert keys == ["a", "b"]
    accounts, requests = numbers[:4], numbers[4:]
    assert accounts == [100, MINUTE, 7, 1_000]
    first, second, third = requests[:7], requests[7:18], requests[18:]
    assert first == [*(0, 1, 0), 1, 1, 0, 0]
    assert second == [*(0, 2, 0), 2, 3, 0, 0, 1, 1, 0, 0]
    assert third == [*(0, 1, 0), 1, 9, 0, 0]


def test_a_reservation_has_a_name_and_an_end() -> None:
    _, numbers, names = pack(Request((A, B), hold="h", expires=9))
    assert (numbers[4:], names) == ([1, 2, 9, 1, 1, 0, 0, 2, 3, 0, 0], ["h"])


def test_a_reservation_follows_what_was_asked_before_it() -> None:
    _, numbers, _ = pack(Request((A,)), Request((B,), hold="h", expires=9))
    assert numbers[4:] == [*(0, 1, 0), 1, 1, 0, 0, *(1, 1, 9), 2, 3, 0, 0]


def test_a_lease_says_what_is_wanted_and_what_is_over() -> None:
    part = A._replace(ahead=Ahead(10, "old", 4))
    _, numbers, names = pack(Request((part,), hold="new", expires=9))
    assert (numbers[2:], names) == ([2, 1, 9, 1, 1, 10, 4], ["new", "old"])


def test_a_beat_brings_the_key_of_the_replicas() -> None:
    keys, args = packed([Request((A,))], beat="me", replicas="replicas", now="")
    assert (keys, args[1:]) == (["a", "replicas"], ["", "me"])


def test_what_most_requests_say_is_numbers_alone() -> None:
    keys, args = packed([Request((A,))], beat="", replicas="replicas", now="")
    assert (keys, len(args)) == (["a"], 1)


def test_a_reply_is_read_in_the_order_of_its_requests() -> None:
    reply = pack_numbers("<16q", 7, *range(1, 16))
    living, (first, second) = unpack([Request((A, B)), Request((A,))], reply)
    assert living == 7
    assert first == [Stood(1, 2, 3, 4, 5), Stood(6, 7, 8, 9, 10)]
    assert second == [Stood(wait=11, used=12, reset=13, aside=14, held=15)]
