"""Open polls, without a server."""

import asyncio
from collections.abc import Mapping

import pytest

from agentmesh.broker.rocketmq.client.message import Received
from agentmesh.broker.rocketmq.client.polls import Key, Open, Polls
from agentmesh.errors import BrokerUnavailable

A, B = ("client", "a"), ("client", "b")


def message(name: str) -> Received:
    return Received("t", "", b"", name, (), "", {}, 1, 0, 0, 0, 0, "handle")


class Brokers:
    """Polls that bring what the test gives them."""

    def __init__(self, *keys: Key) -> None:
        self.answers: dict[Key, asyncio.Queue[list[Received] | Exception]] = {key: asyncio.Queue() for key in keys}
        self.opened = 0

    def sources(self) -> Mapping[Key, Open]:
        return {key: lambda key=key: self._poll(key) for key in self.answers}  # type: ignore[misc]

    async def _poll(self, key: Key) -> list[Received]:
        self.opened += 1
        answer = await self.answers[key].get()
        if isinstance(answer, Exception):
            raise answer
        return answer


def ids(messages: list[Received]) -> list[str]:
    return [each.id for each in messages]


async def test_a_poll_that_outlives_a_wait_is_left_open_for_the_next() -> None:
    brokers, polls = Brokers(A), Polls()
    assert await polls.take(brokers.sources, 32, 0.01) == []
    brokers.answers[A].put_nowait([message("1")])
    assert ids(await polls.take(brokers.sources, 32, 5)) == ["1"]
    assert brokers.opened == 1


async def test_a_cancelled_take_loses_no_message() -> None:
    brokers, polls = Brokers(A), Polls()
    taking = asyncio.create_task(polls.take(brokers.sources, 32, 5))
    await asyncio.sleep(0)
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    brokers.answers[A].put_nowait([message("1")])
    assert ids(await polls.take(brokers.sources, 32, 5)) == ["1"]
    assert brokers.opened == 1


async def test_more_than_was_asked_for_waits_for_the_next_take() -> None:
    brokers, polls = Brokers(A), Polls()
    brokers.answers[A].put_nowait([message("1"), message("2"), message("3")])
    assert ids(await polls.take(brokers.sources, 2, 5)) == ["1", "2"]
    assert ids(await polls.take(brokers.sources, 2, 5)) == ["3"]
    assert brokers.opened == 1


async def test_an_only_poll_that_ends_without_messages_ends_the_take() -> None:
    brokers, polls = Brokers(A), Polls()
    brokers.answers[A].put_nowait([])
    async with asyncio.timeout(2):
        assert await polls.take(brokers.sources, 32, 60) == []


async def test_each_broker_has_a_poll_of_its_own_and_an_empty_one_is_opened_again() -> None:
    brokers, polls = Brokers(A, B), Polls()
    taking = asyncio.create_task(polls.take(brokers.sources, 32, 5))
    brokers.answers[A].put_nowait([])
    while brokers.opened < 3:
        await asyncio.sleep(0)
    brokers.answers[A].put_nowait([message("1")])
    assert ids(await taking) == ["1"]


async def test_a_failed_poll_is_raised_once_and_the_others_stay_open() -> None:
    brokers, polls = Brokers(A, B), Polls()
    brokers.answers[A].put_nowait(BrokerUnavailable("a is away"))
    with pytest.raises(BrokerUnavailable, match="a is away"):
        await polls.take(brokers.sources, 32, 5)
    brokers.answers[B].put_nowait([message("1")])
    assert ids(await polls.take(brokers.sources, 32, 5)) == ["1"]


async def test_close_waits_for_open_polls_and_returns_what_nobody_took() -> None:
    brokers, polls = Brokers(A), Polls()
    assert await polls.take(brokers.sources, 32, 0.01) == []
    closing = asyncio.create_task(polls.close(hurry=False))
    await asyncio.sleep(0)
    assert not closing.done()
    brokers.answers[A].put_nowait([message("1")])
    assert ids(await closing) == ["1"]


async def test_who_waits_in_a_take_gets_the_last_messages_of_a_close() -> None:
    brokers, polls = Brokers(A), Polls()
    taking = asyncio.create_task(polls.take(brokers.sources, 32, 5))
    await asyncio.sleep(0)
    closing = asyncio.create_task(polls.close(hurry=False))
    await asyncio.sleep(0)
    brokers.answers[A].put_nowait([message("1")])
    assert ids(await taking) == ["1"]
    assert await closing == []


async def test_a_hurried_close_breaks_polls_off() -> None:
    brokers, polls = Brokers(A), Polls()
    assert await polls.take(brokers.sources, 32, 0.01) == []
    async with asyncio.timeout(2):
        assert await polls.close(hurry=True) == []
