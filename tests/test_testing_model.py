"""The scripted model server: it plays its script, and is as strict as OpenAI."""

import asyncio
import json
import threading
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

import pytest

from agentmesh.testing import Calls, Close, HalfStream, Hang, ModelServer, Raw, Request, Text
from agentmesh.testing.rules import problem

USER = {"role": "user", "content": "hello"}


def call(identity: str, name: str = "add", arguments: str = "{}") -> dict[str, Any]:
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def function(name: Any = "add", parameters: Any = None) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters or {"type": "object"}}}


def post(url: str, body: Any) -> tuple[int, str]:
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def ask(server: ModelServer, **body: Any) -> tuple[int, Any]:
    status, text = await asyncio.to_thread(post, server.url, {"model": "m", "messages": [USER]} | body)
    return status, json.loads(text) if text.startswith("{") else text


async def test_the_script_is_played_in_order() -> None:
    async with ModelServer(["one", Text("two"), Calls(("add", {"a": 1}), text="so")]) as server:
        first, second, third = [(await ask(server))[1]["choices"][0] for _ in range(3)]
    assert first["message"] == {"role": "assistant", "content": "one"}
    assert second["message"]["content"] == "two"
    assert third["finish_reason"] == "tool_calls"
    assert third["message"]["content"] == "so"
    assert third["message"]["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 1}'}


async def test_a_stream_ends_with_a_reason_usage_when_wanted_and_done() -> None:
    async with ModelServer(["Hello, world. 你好"]) as server:
        _, text = await ask(server, stream=True, stream_options={"include_usage": True})
    events = [line.removeprefix("data: ") for line in text.splitlines() if line]
    chunks = [json.loads(event) for event in events[:-1]]
    assert events[-1] == "[DONE]"
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks[:-1]) == "Hello, world. 你好"
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["prompt_tokens"] == 10


async def test_a_function_of_the_script_sees_the_request() -> None:
    async def echo(request: Request) -> str:
        return f"{request.messages[-1]['content']} {[f['name'] for f in request.functions]}"

    async with ModelServer([echo]) as server:
        _, answer = await ask(server, tools=[function("f")])
    assert answer["choices"][0]["message"]["content"] == "hello ['f']"


async def test_an_assertion_that_fails_in_the_script_fails_the_test() -> None:
    def check(request: Request) -> str:
        raise AssertionError("not what was expected")

    with pytest.raises(AssertionError, match="not what was expected"):
        async with ModelServer([check]) as server:
            assert (await ask(server))[0] == 400


async def test_raw_answers_go_out_as_they_are() -> None:
    async with ModelServer([Raw(429, {"error": "slow"}, {"Retry-After": "7"}), Raw(200, "no json")]) as server:
        assert await ask(server) == (429, {"error": "slow"})
        assert await ask(server) == (200, "no json")


async def test_a_request_after_the_end_of_the_script_is_refused() -> None:
    async with ModelServer([]) as server:
        status, answer = await ask(server)
    assert status == 400
    assert "at its end" in answer["error"]["message"]
    assert len(server.refused) == len(server.requests) == 1


async def test_a_refused_request_takes_nothing_from_the_script() -> None:
    async with ModelServer(["hello"]) as server:
        assert (await ask(server, messages=[]))[0] == 400
        assert (await ask(server))[0] == 200


@pytest.mark.parametrize("item", [Close(), HalfStream()])
async def test_a_broken_connection_is_really_broken(item: Any) -> None:
    async with ModelServer([item]) as server:
        with pytest.raises((OSError, HTTPException, ValueError)):
            await ask(server)


async def test_a_server_that_hangs_can_be_closed() -> None:
    asked = asyncio.Event()

    def hang(request: Request) -> Hang:
        asked.set()
        return Hang()

    async with ModelServer([hang]) as server:
        asking = asyncio.ensure_future(ask(server))
        await asked.wait()
    with pytest.raises((OSError, HTTPException, ValueError)):
        await asking


def test_it_runs_in_a_thread_for_tests_that_start_programs() -> None:
    before = threading.active_count()
    with ModelServer(["hi"]) as server:
        status, text = post(server.url, {"model": "m", "messages": [USER]})
        assert (status, json.loads(text)["choices"][0]["message"]["content"]) == (200, "hi")
        assert server.requests[0].headers["content-length"]
    assert threading.active_count() == before


async def test_other_paths_are_not_found() -> None:
    async with ModelServer(["hi"]) as server:
        status, _ = await asyncio.to_thread(post, server.url.removesuffix("/v1"), {})
    assert status == 404
    assert server.requests == []


ASSISTANT = {"role": "assistant", "content": None, "tool_calls": [call("a"), call("b")]}
TOOL_A, TOOL_B = ({"role": "tool", "tool_call_id": name, "content": "x"} for name in "ab")


@pytest.mark.parametrize(
    ("messages", "wrong"),
    [
        ([USER, ASSISTANT, TOOL_A, TOOL_B], ""),
        ([USER, ASSISTANT, TOOL_B, TOOL_A, USER], ""),
        ([USER, ASSISTANT, TOOL_A], "no tool message: b"),
        ([USER, ASSISTANT, TOOL_A, USER, TOOL_B], "no tool message: b"),
        ([USER, TOOL_A], "must answer a preceding"),
        ([USER, ASSISTANT, TOOL_A, TOOL_B, TOOL_A], "must answer a preceding"),
        ([USER, {"role": "assistant", "content": None}], "content must be"),
        ([USER, {"role": "assistant", "content": "", "tool_calls": []}], "at least one call"),
        ([USER, {"role": "assistant", "tool_calls": [call("a"), call("a")]}], "ids of their own"),
        ([USER, {"role": "assistant", "tool_calls": [call("a", "天气")]}], "does not match"),
        ([USER, {"role": "assistant", "tool_calls": [call("a", "f", {})]}], "string of JSON"),  # type: ignore[arg-type]
        ([{"role": "robot", "content": "x"}], "role must be"),
        ([{"role": "user"}], "content must be"),
    ],
)
def test_conversations_that_openai_refuses_are_refused(messages: list[Any], wrong: str) -> None:
    found = problem({"model": "m", "messages": messages})
    assert wrong in found
    assert bool(wrong) == bool(found)


@pytest.mark.parametrize(
    ("tools", "wrong"),
    [
        ([function()], ""),
        ([function(f"f{n}") for n in range(128)], ""),
        ([function(f"f{n}") for n in range(129)], "1 to 128"),
        ([], "1 to 128"),
        ([function("a b")], "does not match"),
        ([function("x" * 65)], "does not match"),
        ([function(), function()], "twice"),
        ([function("f", {"type": "string"})], "Invalid schema"),
        ([function("f", {"properties": {}})], "Invalid schema"),
        ([{"type": "function"}], "is not a function"),
    ],
)
def test_functions_that_openai_refuses_are_refused(tools: list[Any], wrong: str) -> None:
    found = problem({"model": "m", "messages": [USER], "tools": tools})
    assert wrong in found
    assert bool(wrong) == bool(found)


@pytest.mark.parametrize("body", [None, [], {"messages": [USER]}, {"model": "m"}, {"model": "m", "messages": "hi"}])
def test_bodies_that_are_no_requests_are_refused(body: Any) -> None:
    assert problem(body)
