"""Clients of rocketmq-a2a call agents of ours, and are streamed to."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from cluster.conftest import Place
from cluster.interop.guest_agents import DeskAgent, EchoAgent
from cluster.interop.kit import Client, Cluster, message, start_process, stop_process

from agentmesh import Mesh
from agentmesh.a2a.rocketmq import card_for_rocketmq
from agentmesh.broker.rocketmq.client import Consumer, Outgoing

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]
PROGRAM = Path(__file__).with_name("guest_agents.py")

Calling = Callable[[str], AbstractAsyncContextManager[Client]]


@pytest.fixture
async def mesh(place: Place) -> AsyncIterator[Mesh]:
    async with Mesh(place.broker, place.registry) as mesh:
        await mesh.serve(EchoAgent(), DeskAgent())
        yield mesh


@pytest.fixture
async def echo(mesh: Mesh, place: Place, cluster: Cluster) -> AsyncIterator[Client]:
    async with Client(cluster, their_name(place, "EchoAgentTask")) as client:
        yield client


@pytest.fixture
async def desk(mesh: Mesh, place: Place, cluster: Cluster) -> AsyncIterator[Client]:
    async with Client(cluster, their_name(place, "DeskAgentTask")) as client:
        yield client


def their_name(place: Place, topic: str) -> str:
    """RocketMQ's name of an agent's topic: the mesh's namespace goes before it."""
    return f"{place.broker.rpartition('namespace=')[2]}-{topic}"


def asking(skill: str) -> dict[str, Any]:
    return {"metadata": {"skill": skill}}


async def test_a_text_goes_to_the_only_skill(echo: Client) -> None:
    answer = await echo.ask("message/send", message("hello you", contextId="talk-1"))
    task = answer["result"]
    assert (task["kind"], task["contextId"], task["status"]["state"]) == ("task", "talk-1", "completed")
    assert [each["parts"] for each in task["artifacts"]] == [[{"kind": "text", "text": "hello you"}]]
    assert "history" not in task
    again = await echo.ask("tasks/get", {"id": task["id"]})
    assert again["result"] == task


async def test_a_stream_tells_what_happens_and_ends(echo: Client) -> None:
    request = await echo.send("message/stream", message("hello you"))
    results = [each["result"] async for each in echo.chunks(request)]
    assert results[0]["kind"] == "task"
    assert {each.get("taskId", each.get("id")) for each in results} == {results[0]["id"]}
    updates = [each for each in results if each["kind"] == "artifact-update"]
    pieces = [(each["artifact"]["artifactId"], each["append"]) for each in updates]
    assert pieces == [("output", False), ("output", True), ("result", False)]
    assert [each["artifact"]["parts"][0]["text"] for each in updates] == ["hello", "you", "hello you"]
    states = [(each["status"]["state"], each["final"]) for each in results if each["kind"] == "status-update"]
    assert states == [("working", False), ("working", False), ("completed", True)]
    assert results[-1]["kind"] == "status-update"


async def test_the_skill_is_named_in_the_metadata_and_data_is_its_input(desk: Client) -> None:
    answer = await desk.ask("message/send", message(data={"a": 2, "b": 3}, metadata={"skillId": "add"}))
    assert answer["result"]["artifacts"][0]["parts"] == [{"kind": "data", "data": {"result": 5}}]
    answer = await desk.ask("message/send", message("June", **asking("report")))
    names = [each["name"] for each in answer["result"]["artifacts"]]
    assert names == ["table", "picture", "result"]
    kinds = [each["parts"][0]["kind"] for each in answer["result"]["artifacts"]]
    assert kinds == ["data", "file", "data"]


async def test_what_cannot_be_done_is_an_error_that_says_what_is_wanted(desk: Client) -> None:
    answer = await desk.ask("message/send", message("2 + 3"))
    assert answer["error"]["code"] == -32602
    assert answer["error"]["data"]["skills"] == ["add", "ask", "fail", "report", "wait"]
    answer = await desk.ask("message/send", message("2 + 3", **asking("add")))
    assert answer["error"]["data"]["input"]["required"] == ["a", "b"]
    answer = await desk.ask("message/send", message("", **asking("multiply")))
    assert "multiply" in answer["error"]["message"]
    assert (await desk.ask("message/shout", {}))["error"]["code"] == -32601
    assert (await desk.ask("tasks/get", {"id": "call-of-nobody"}))["error"]["code"] == -32001
    assert (await desk.ask("tasks/pushNotificationConfig/set", {}))["error"]["code"] == -32003
    request = await desk.send("message/stream", message("2 + 3"))
    assert [each["error"]["code"] async for each in desk.chunks(request)] == [-32602]


async def test_a_failure_is_a_task_that_failed(desk: Client) -> None:
    task = (await desk.ask("message/send", message(**asking("fail"))))["result"]
    assert task["status"]["state"] == "failed"
    assert task["status"]["message"]["parts"][0]["text"] == "ValueError: no paper"


async def test_a_repeated_request_is_one_call(echo: Client) -> None:
    first, second = [await echo.ask("message/send", message("once"), request_id="f" * 32) for _ in range(2)]
    assert first["result"] == second["result"]


async def test_follow_ups_come_on_the_lite_topic_that_replies_give(desk: Client) -> None:
    request = await desk.send("message/stream", message(**asking("wait")))
    chunks = desk.chunks(request)
    task = (await anext(chunks))["result"]["id"]
    while (await anext(chunks))["result"]["status"].get("message") is None:
        pass
    found = await desk.ask("tasks/get", {"id": task}, follow_up=True)
    assert found["result"]["status"]["state"] == "working"
    watching = await desk.send("tasks/resubscribe", {"id": task}, follow_up=True)
    cancelled = await desk.ask("tasks/cancel", {"id": task}, follow_up=True)
    assert cancelled["result"]["status"]["state"] == "canceled"
    assert [each["result"] async for each in chunks][-1]["status"]["state"] == "canceled"
    assert [each["result"] async for each in desk.chunks(watching)][-1]["final"] is True


async def test_a_task_that_has_ended_cannot_be_cancelled(echo: Client) -> None:
    task = (await echo.ask("message/send", message("done")))["result"]
    assert (await echo.ask("tasks/cancel", {"id": task["id"]}))["error"]["code"] == -32002


async def test_a_task_of_another_agent_is_as_if_it_were_not(echo: Client, desk: Client) -> None:
    task = (await echo.ask("message/send", message("mine")))["result"]
    assert (await desk.ask("tasks/get", {"id": task["id"]}))["error"]["code"] == -32001


async def test_a_question_is_answered_by_a_message_for_the_task(desk: Client) -> None:
    task = (await desk.ask("message/send", message("car", **asking("ask"))))["result"]
    assert task["status"]["state"] == "input-required"
    assert task["status"]["message"]["parts"][0]["text"] == "Which colour?"
    task = (await desk.ask("message/send", message("red", taskId=task["id"])))["result"]
    assert task["status"]["state"] == "completed"
    assert task["artifacts"][0]["parts"][0]["text"] == "car: red"


async def test_rubbish_goes_to_the_dead_letters_and_holds_nobody_up(echo: Client, cluster: Cluster) -> None:
    own = json.dumps(echo.envelope("message/send", message("x"), "r") | {"workAgentResponseTopic": "agentmesh-call"})
    rubbish = [b"{", b"\x01\xff", b"[" * 100_000, b'{"requestBody": 1}', own.encode()]
    for each in rubbish:
        await cluster.producer.send(Outgoing(echo.topic, each))
    broken = {**echo.envelope("", {}, "e" * 32), "requestBody": "{"}
    await cluster.producer.send(Outgoing(echo.topic, json.dumps(broken).encode()))
    reply = await echo.reply("e" * 32)
    assert json.loads(reply["responseBody"])["error"]["code"] == -32700
    assert (await echo.ask("message/send", message("still here")))["result"]["status"]["state"] == "completed"
    letters = Consumer(cluster.connection, await cluster.group(), f"%DLQ%{echo.topic}")
    await letters.start()
    found: set[bytes] = set()
    async with asyncio.timeout(40):
        while len(found) < len(rubbish):
            found.update(each.body for each in await letters.receive())
    assert found == set(rubbish)


async def test_the_card_for_them_says_where_the_agent_is(mesh: Mesh, place: Place, cluster: Cluster) -> None:
    card = (await mesh.registry.get("EchoAgentTask")).card
    told = card_for_rocketmq(card, place.broker)
    assert told["preferredTransport"] == "RocketMQ"
    endpoint = cluster.address.endpoint
    assert told["additionalInterfaces"][0]["url"] == f"http://{endpoint}//{their_name(place, 'EchoAgentTask')}"


async def test_killed_workers_cost_no_reply(place: Place, cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:

        async def join() -> "subprocess.Popen[str]":
            process = await asyncio.to_thread(start_process, PROGRAM, *place)
            stack.callback(stop_process, process)
            return process

        processes = [await join(), await join()]
        client = await stack.enter_async_context(Client(cluster, their_name(place, "SlowAgentTask")))
        sent = await client.send("message/send", message("the report"))
        chunks = client.chunks(await client.send("message/stream", message("the talk")))
        async for chunk in chunks:
            if "message" in chunk["result"]["status"]:  # the first attempt has begun
                break
        for process in processes:
            process.kill()
        await join()
        answer = json.loads((await client.reply(sent, 90))["responseBody"])
        assert answer["result"]["artifacts"][0]["parts"][0]["text"] == "the report is done"
        last = [each["result"] async for each in chunks][-1]
        assert (last["status"]["state"], last["final"]) == ("completed", True)
