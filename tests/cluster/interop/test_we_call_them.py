"""Agents of ours stand for agents of rocketmq-a2a."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from cluster.conftest import Place
from cluster.interop.guest_agents import EchoAgent
from cluster.interop.kit import Body, Cluster, Reply, TheirAgent, start_process, stop_process

from agentmesh import CallCancelled, CallFailed, InvalidInput, Mesh
from agentmesh.a2a.rocketmq import RocketMQA2AAgent, card_for_rocketmq

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]
PROGRAM = Path(__file__).with_name("stand_in.py")
TASK = {"taskId": "task-1", "contextId": "context-1"}


def status(state: str, text: str | None = None, *, final: bool = False) -> Body:
    told: Body = {"state": state}
    if text is not None:
        parts = [{"kind": "text", "text": text}]
        told["message"] = {"kind": "message", "role": "agent", "messageId": "m", "parts": parts}
    return {"kind": "status-update", **TASK, "status": told, "final": final}


def piece(text: str, *, append: bool) -> Body:
    artifact = {"artifactId": "translation", "parts": [{"kind": "text", "text": text}]}
    return {"kind": "artifact-update", **TASK, "artifact": artifact, "append": append}


def task(state: str, text: str | None = None, artifacts: list[Body] | None = None) -> Body:
    return {"kind": "task", "id": "task-1", "contextId": "context-1", "artifacts": artifacts or []} | {
        "status": status(state, text)["status"]
    }


def text_of(params: Body) -> str:
    return "".join(part.get("text", "") for part in params["message"]["parts"])


class Translator:
    """How their agent answers; `gate` holds back the end of the task `slow`, `cancelled` tells that it was."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, method: str, params: Body, reply: Reply) -> None:
        if method == "tasks/cancel":
            self.cancelled.set()
            await reply.once(task("canceled"))
        elif method == "tasks/get":
            await reply.once(task("completed", artifacts=[piece("bonjour", append=False)["artifact"]]))
        elif method == "message/send":
            await self._send(params, reply)
        else:
            await self._stream(text_of(params), params["message"].get("taskId"), reply)

    async def _send(self, params: Body, reply: Reply) -> None:
        if text_of(params) == "twice encoded":
            error = json.dumps({"code": -32602, "message": "only French"})
            await reply.raw(json.dumps(json.dumps({"error": error})), stream=False, end=True)
        elif text_of(params) == "rubbish":
            await reply.raw("]", stream=False, end=True)
        elif text_of(params) == "later":
            await reply.once(task("submitted"))
        else:
            parts = [{"kind": "data", "data": {"heard": params["message"]["parts"][1]["data"]}}]
            await reply.once({"kind": "message", "role": "agent", "messageId": "m", "parts": parts})

    async def _stream(self, text: str, answered: str | None, reply: Reply) -> None:
        await reply.chunk(task("submitted"))
        await reply.chunk(status("working", "looking it up"))
        if text == "fail":
            await reply.chunk(status("failed", "no such word", final=True))
        elif text == "which" and not answered:
            await reply.chunk(status("input-required", "Which one?", final=True))
        elif text == "break off":
            pass
        else:
            if text == "slow":
                await self.gate.wait()
            await reply.chunk(piece("bon", append=False))
            await reply.chunk(piece("jour", append=True))
            await reply.chunk(status("completed", final=True))
        await reply.end()


@pytest.fixture
def translator() -> Translator:
    return Translator()


@pytest.fixture
async def theirs(cluster: Cluster, translator: Translator) -> AsyncIterator[TheirAgent]:
    async with TheirAgent(cluster, translator) as agent:
        yield agent


@pytest.fixture
async def mesh(place: Place, theirs: TheirAgent) -> AsyncIterator[Mesh]:
    async with Mesh(place.broker, place.registry, drain=0) as mesh:
        plain = RocketMQA2AAgent(theirs.card(streaming=False), broker_url=place.broker, topic="PlainTask")
        await mesh.serve(RocketMQA2AAgent(theirs.card(), broker_url=place.broker), plain)
        yield mesh


async def test_a_stream_becomes_progress_output_and_a_result(mesh: Mesh, theirs: TheirAgent) -> None:
    call = await mesh.start("TranslatorTask", {"message": "hello"})
    told = [(event.type, event.data) async for event in call.events()]
    assert [data["message"] for kind, data in told if kind == "progress"] == ["looking it up"]
    assert [data["text"] for kind, data in told if kind == "delta"] == ["bon", "jour"]
    assert told[-1] == ("completed", {"result": "bonjour"})
    method, params = theirs.asked[0]
    assert (method, params["message"]["metadata"]) == ("message/stream", {"skill": "translate"})


async def test_the_card_is_that_of_the_remote_agent(mesh: Mesh) -> None:
    card = (await mesh.registry.get("TranslatorTask")).card
    assert (card.name, card.version, card.description) == ("Translator", "2.1", "Translates.")
    assert [(each.id, each.tags) for each in card.skills] == [("translate", ("text",))]


async def test_an_agent_that_does_not_stream_is_sent_data_and_answers_with_data(mesh: Mesh) -> None:
    assert await mesh.call("PlainTask", {"message": "x", "data": {"a": 1}}) == {"heard": {"a": 1}}


async def test_errors_say_what_the_remote_agent_says(mesh: Mesh) -> None:
    with pytest.raises(CallFailed, match="Translator ended the task as failed: no such word"):
        await mesh.call("TranslatorTask", {"message": "fail"})
    with pytest.raises(InvalidInput, match="only French"):
        await mesh.call("PlainTask", {"message": "twice encoded"})
    with pytest.raises(CallFailed, match="no answer of A2A"):
        await mesh.call("PlainTask", {"message": "rubbish"})


async def test_a_task_that_goes_on_after_the_answer_is_asked_for(mesh: Mesh) -> None:
    assert await mesh.call("PlainTask", {"message": "later"}) == "bonjour"
    assert await mesh.call("TranslatorTask", {"message": "break off"}) == "bonjour"


async def test_a_question_is_asked_and_its_answer_passed_on(mesh: Mesh, theirs: TheirAgent) -> None:
    call = await mesh.start("TranslatorTask", {"message": "which"})
    async for event in call.events():
        if event.type == "input_required":
            assert event.data["text"] == "Which one?"
            await call.answer("the second")
    assert await call.result() == "bonjour"
    sent = theirs.asked[-1][1]["message"]
    assert (sent["taskId"], sent["contextId"], sent["parts"][0]["text"]) == ("task-1", "context-1", "the second")


async def test_a_cancelled_call_cancels_the_remote_task(mesh: Mesh, theirs: TheirAgent, translator: Translator) -> None:
    call = await mesh.start("TranslatorTask", {"message": "slow"})
    async for event in call.events():
        if event.type == "progress":
            await call.cancel()
    with pytest.raises(CallCancelled):
        await call.result()
    async with asyncio.timeout(20):
        await translator.cancelled.wait()
    assert theirs.asked[-1] == ("tasks/cancel", {"id": "task-1"})


async def test_an_agent_that_is_not_there_is_a_clear_error(place: Place, theirs: TheirAgent) -> None:
    card = json.loads(json.dumps(theirs.card()).replace(theirs.topic, "nobody-here"))
    async with Mesh(place.broker, place.registry) as mesh:
        await mesh.serve(RocketMQA2AAgent(card, broker_url=place.broker, topic="NobodyTask"))
        with pytest.raises(CallFailed, match="nobody-here"):
            await mesh.call("NobodyTask", {"message": "hello"})


async def test_an_agentmesh_calls_another_one_this_way(place: Place) -> None:
    async with Mesh(place.broker, place.registry) as mesh:
        await mesh.serve(EchoAgent())
        card = card_for_rocketmq((await mesh.registry.get("EchoAgentTask")).card, place.broker)
        await mesh.serve(RocketMQA2AAgent(card, broker_url=place.broker, topic="AwayTask"))
        assert await mesh.call("AwayTask", {"message": "hello you"}) == "hello you"


async def test_another_worker_goes_on_hearing_what_a_killed_one_asked(
    place: Place, theirs: TheirAgent, translator: Translator
) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(2):
            process = await asyncio.to_thread(start_process, PROGRAM, *place, json.dumps(theirs.card()))
            stack.callback(stop_process, process)
        mesh = await stack.enter_async_context(Mesh(place.broker, place.registry))
        call = await mesh.start("TranslatorTask", {"message": "slow"})
        worker = 0
        async for event in call.events():
            if event.type == "accepted":
                worker = int(event.data["worker"].partition("-")[0])
            if event.type == "progress" and not translator.gate.is_set():
                os.kill(worker, signal.SIGKILL)
                translator.gate.set()
        assert await call.result() == "bonjour"
        attempts = [event.attempt async for event in call.events()]
    assert attempts[-1] == 2
    assert [method for method, _ in theirs.asked] == ["message/stream"]
