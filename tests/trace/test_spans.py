"""One trace from the first call to the last, with OpenTelemetry's SDK and without it."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from agentmesh import Agent, CallFailed, Context, ModelUnavailable, Retryable, RunFailed, skill
from agentmesh.clock import ManualClock
from agentmesh.ids import child_call, new_id
from agentmesh.testing import Calls, ModelServer, Raw, open_mesh
from agentmesh.trace.context import is_traceparent, root_trace

Spans = dict[str, ReadableSpan]


class GeoAgent(Agent):
    """Finds districts."""

    @skill
    async def find(self, city: str) -> str:
        if city == "nowhere":
            raise LookupError("no such city")
        return f"{city} Xihu"

    @skill
    def find_in_a_thread(self, city: str) -> str:
        with trace.get_tracer("mine").start_as_current_span("look it up"):
            return city

    @skill
    async def find_again(self, *, ctx: Context) -> int:
        if ctx.attempt == 1:
            raise Retryable("the map is being redrawn", after=0)
        return ctx.attempt


class WeatherAgent(Agent):
    """Weather of a city: 天气."""

    @skill(examples=["杭州天气"])
    async def forecast(self, request: str, *, ctx: Context) -> dict[str, str]:
        """The weather forecast."""
        return {"text": await ctx.call("GeoAgentTask", {"city": request}, skill="find")}


@pytest.fixture(scope="module")
def recorded() -> InMemorySpanExporter:
    """What the SDK of this process records; a process has one provider, for good."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def exporter(recorded: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    recorded.clear()
    yield recorded
    recorded.clear()


def by_name(exporter: InMemorySpanExporter) -> Spans:
    return {span.name: span for span in exporter.get_finished_spans()}


def parents(spans: Spans) -> dict[str, str]:
    """Name → name of the parent."""
    names = {span.context.span_id: name for name, span in spans.items()}
    return {name: names.get(span.parent.span_id, "?") if span.parent else "" for name, span in spans.items()}


def is_one_trace(spans: Spans) -> bool:
    return len({span.context.trace_id for span in spans.values()}) == 1


async def test_a_call_that_calls_another_is_one_trace_of_sends_and_processes(exporter: InMemorySpanExporter) -> None:
    async with open_mesh(WeatherAgent(), GeoAgent()) as mesh:
        with trace.get_tracer("mine").start_as_current_span("my program"):
            call = await mesh.start("WeatherAgentTask", {"request": "杭州"}, session="s1")
        assert await call.result() == {"text": "杭州 Xihu"}
    spans = by_name(exporter)
    assert parents(spans) == {
        "my program": "",
        "send WeatherAgentTask": "my program",
        "process WeatherAgentTask": "send WeatherAgentTask",
        "send GeoAgentTask": "process WeatherAgentTask",
        "process GeoAgentTask": "send GeoAgentTask",
    }
    assert is_one_trace(spans)
    sent, processed = spans["send WeatherAgentTask"], spans["process WeatherAgentTask"]
    assert (sent.kind, processed.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert dict(sent.attributes or {}) == {
        "messaging.system": "agentmesh",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "WeatherAgentTask",
        "messaging.message.id": call.id,
    }
    attributes = dict(processed.attributes or {})
    worker = attributes.pop("messaging.client.id")
    assert worker
    assert attributes == {
        "messaging.system": "agentmesh",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "WeatherAgentTask",
        "messaging.message.id": call.id,
        "messaging.message.body.size": len('{"request":"杭州"}'.encode()),
        "gen_ai.conversation.id": "s1",
        "agentmesh.attempt": 1,
        "agentmesh.skill": "forecast",
        "agentmesh.tenant": "default",
        "agentmesh.outcome": "completed",
    }
    assert [link.context.span_id for link in processed.links] == [sent.context.span_id]
    assert {span.status.status_code for span in spans.values()} == {StatusCode.UNSET}


async def test_a_handler_that_raises_fails_its_span_and_an_attempt_has_one_of_its_own(
    exporter: InMemorySpanExporter,
) -> None:
    async with open_mesh(GeoAgent()) as mesh:
        with pytest.raises(CallFailed):
            await mesh.call("GeoAgentTask", {"city": "nowhere"}, skill="find")
        (failed,) = (span for span in exporter.get_finished_spans() if span.name == "process GeoAgentTask")
        assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "no such city")
        assert failed.attributes
        assert failed.attributes["error.type"] == "LookupError"
        exporter.clear()
        assert await mesh.call("GeoAgentTask", {}, skill="find_again") == 2
    sent, *attempts = sorted(exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
    told = [dict(span.attributes or {}) for span in attempts]
    assert [(each["agentmesh.attempt"], each["agentmesh.outcome"]) for each in told] == [
        (1, "retrying"),
        (2, "completed"),
    ]
    assert [span.status.status_code for span in attempts] == [StatusCode.ERROR, StatusCode.UNSET]
    assert all(span.parent and span.parent.span_id == sent.context.span_id for span in attempts)


async def test_a_span_that_a_plain_function_opens_is_below_its_attempt(exporter: InMemorySpanExporter) -> None:
    async with open_mesh(GeoAgent()) as mesh:
        await mesh.call("GeoAgentTask", {"city": "杭州"}, skill="find_in_a_thread")
    assert parents(by_name(exporter))["look it up"] == "process GeoAgentTask"


async def test_a_cancelled_call_says_so_and_is_no_error(exporter: InMemorySpanExporter) -> None:
    class SlowAgent(Agent):
        """Waits for an answer."""

        @skill
        async def wait(self, *, ctx: Context) -> str:
            return await ctx.ask("how long?")

    clock = ManualClock()
    async with open_mesh(SlowAgent(), clock=clock) as mesh:
        call = await mesh.start("SlowAgentTask")
        await clock.advance(0)
        await call.cancel()
        await clock.advance(1)
    processed = by_name(exporter)["process SlowAgentTask"]
    assert processed.attributes
    assert processed.attributes["agentmesh.outcome"] == "cancelled"
    assert processed.status.status_code is StatusCode.UNSET


async def test_a_run_is_one_trace_down_to_the_requests_of_its_model(exporter: InMemorySpanExporter) -> None:
    model = ModelServer([Calls(("WeatherAgentTask-forecast", {"request": "杭州"})), "It is sunny."])
    async with open_mesh(WeatherAgent(), GeoAgent(), model=model) as mesh:
        run = await mesh.run("杭州天气怎么样", session="trip")
        assert await run.result() == "It is sunny."
        address = model.url
    spans = by_name(exporter)
    assert is_one_trace(spans)
    assert parents(spans) == {
        "send SupervisorAgentTask": "",
        "process SupervisorAgentTask": "send SupervisorAgentTask",
        "invoke_agent Supervisor": "process SupervisorAgentTask",
        "round 1": "invoke_agent Supervisor",
        "round 2": "invoke_agent Supervisor",
        "execute_tool WeatherAgentTask.forecast": "round 1",
        "send WeatherAgentTask": "execute_tool WeatherAgentTask.forecast",
        "process WeatherAgentTask": "send WeatherAgentTask",
        "send GeoAgentTask": "process WeatherAgentTask",
        "process GeoAgentTask": "send GeoAgentTask",
        "chat scripted": "round 2",
    }
    chats = [span for span in exporter.get_finished_spans() if span.name == "chat scripted"]
    assert len(chats) == 2
    assert chats[0].kind is SpanKind.CLIENT
    told = dict(chats[0].attributes or {})
    assert told.pop("gen_ai.usage.input_tokens") > 0
    assert told.pop("gen_ai.usage.output_tokens") > 0
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "scripted",
        "server.address": "127.0.0.1",
        "server.port": int(address.split(":")[2].partition("/")[0]),
    }
    invoked, executed = spans["invoke_agent Supervisor"], spans["execute_tool WeatherAgentTask.forecast"]
    assert dict(invoked.attributes or {}) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "Supervisor",
        "gen_ai.conversation.id": "trip",
    }
    assert dict(executed.attributes or {}) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "WeatherAgentTask.forecast",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": child_call(run.id, "1.0"),
    }
    processed = spans["process WeatherAgentTask"].attributes or {}
    assert processed["messaging.message.conversation_id"] == run.id
    said = json.dumps([dict(span.attributes or {}) for span in exporter.get_finished_spans()], ensure_ascii=False)
    assert "杭州" not in said  # what is said to agents and models is nobody else's


async def test_a_model_that_fails_fails_its_span_and_those_above_it(exporter: InMemorySpanExporter) -> None:
    refusal = Raw(400, {"error": {"message": "no"}})
    async with open_mesh(WeatherAgent(), model=ModelServer([refusal])) as mesh:
        with pytest.raises((RunFailed, ModelUnavailable)):
            await (await mesh.run("杭州天气")).result()
    spans = by_name(exporter)
    for name in ("chat scripted", "round 1", "invoke_agent Supervisor", "process SupervisorAgentTask"):
        assert spans[name].status.status_code is StatusCode.ERROR, name
        assert (spans[name].attributes or {})["error.type"] == "ModelUnavailable"


WITHOUT_SDK = """
import asyncio, json, sys
from agentmesh import Agent, Context, Mesh, skill

traces = []

async def note(ctx, topic):
    for stored in await ctx.client.broker.browse(topic):
        traces.append((topic, stored.message.id, stored.message.traceparent))

class GeoAgent(Agent):
    "Finds districts."
    @skill
    async def find(self, city: str, *, ctx: Context) -> str:
        await note(ctx, "GeoAgentTask")
        return city

class WeatherAgent(Agent):
    "Weather of a city."
    @skill(examples=["weather in Hangzhou"])
    async def forecast(self, request: str, *, ctx: Context) -> dict:
        "The weather forecast."
        await note(ctx, "WeatherAgentTask")
        return {"text": await ctx.call("GeoAgentTask", {"city": "x"})}

async def main():
    async with Mesh("memory://", model=None, drain=0) as mesh:
        await mesh.serve(WeatherAgent(), GeoAgent())
        call = await mesh.start("WeatherAgentTask", {"request": "x"})
        await call.result()
        run = await mesh.run("weather in Hangzhou")
        await run.result()
        keyed = await mesh.start("WeatherAgentTask", {"request": "x"}, key="k")
        await keyed.result()
    loaded = [name for name in sys.modules if name.startswith("opentelemetry")]
    print(json.dumps({"call": call.id, "run": run.id, "traces": traces, "loaded": loaded}))

asyncio.run(main())
"""


def test_without_the_sdk_a_call_and_all_below_it_are_one_trace_too_and_nothing_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_SDK], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["loaded"] == []
    assert all(is_traceparent(traceparent) for _, _, traceparent in told["traces"])
    found = [(topic, traceparent.split("-")[1]) for topic, _, traceparent in told["traces"]]
    assert [topic for topic, _ in found] == ["WeatherAgentTask", "GeoAgentTask"] * 3
    first, second, third = (number for _, number in found[::2])
    assert found[1::2] == [("GeoAgentTask", first), ("GeoAgentTask", second), ("GeoAgentTask", third)]
    assert len({first, second, third}) == 3
    assert (first, second) == (told["call"].removeprefix("call-"), told["run"].removeprefix("run-"))


def test_a_traceparent_is_what_the_specification_says() -> None:
    for call in (new_id("call"), new_id("run"), child_call("call-1", "#1"), "call-x", ""):
        assert is_traceparent(root_trace(call))
    number, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    assert is_traceparent(f"00-{number}-{span}-01")
    assert is_traceparent(f"cc-{number}-{span}-01-what-comes-later")
    wrong = [f"00-{number}-{span}", f"00-{'0' * 32}-{span}-01", f"00-{number}-{'0' * 16}-01", f"ff-{number}-{span}-01"]
    wrong += [f"00-{number}-{span}-01-more", f"00-{number.upper()}-{span}-01", f" 00-{number}-{span}-01", ""]
    assert not any(map(is_traceparent, wrong))
