"""The mesh for tests: private, hermetic, on a clock moved by hand, with a scripted model; and pytest's fixtures."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from agentmesh import Agent, BrokerUnavailable, CallTimedOut, Context, DeclarationError, TopicNotFound, skill
from agentmesh.testing import Calls, Item, ManualClock, ModelServer, Request, open_mesh


class EchoAgent(Agent):
    """Gives back what it is given."""

    @skill(examples=["say hello"], tags=["echo"])
    async def echo(self, text: str) -> str:
        """Give the text back."""
        return text


class WaitingAgent(Agent):
    """Never comes back."""

    @skill
    async def wait(self) -> None:
        """Wait for ever."""
        await asyncio.Event().wait()


async def test_the_agents_are_served_and_nobody_else_sees_the_mesh() -> None:
    async with open_mesh(EchoAgent()) as mesh, open_mesh() as other:
        assert await mesh.call("EchoAgentTask", {"text": "hello"}) == "hello"
        with pytest.raises(TopicNotFound):
            await other.call("EchoAgentTask", {"text": "hello"})


async def test_folders_are_served_too(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text("topic: HelloAgentTask\nclass: agent:HelloAgent\n")
    (tmp_path / "agent.py").write_text(
        "from agentmesh import Agent, skill\n"
        "class HelloAgent(Agent):\n"
        "    @skill\n"
        "    def hello(self) -> str:\n"
        "        return 'hello'\n"
    )
    async with open_mesh(tmp_path) as mesh:
        assert await mesh.call("HelloAgentTask") == "hello"


async def test_leaving_the_mesh_waits_for_no_handler() -> None:
    async with asyncio.timeout(5), open_mesh(WaitingAgent()) as mesh:
        call = await mesh.start("WaitingAgentTask")
        async for event in call.events():
            if event.type == "accepted":
                break
    with pytest.raises(BrokerUnavailable):
        await mesh.call("WaitingAgentTask")


async def test_time_stands_still_until_it_is_advanced() -> None:
    clock = ManualClock()
    async with open_mesh(WaitingAgent(), clock=clock) as mesh:
        call = await mesh.start("WaitingAgentTask", deadline=300)
        await clock.advance(299)
        assert (await call.state()).terminal is None
        await clock.advance(2)
        with pytest.raises(CallTimedOut):
            await call.result()


def answer(request: Request) -> str:
    assert "hello" in request.messages[-1]["content"]
    return "It said hello."


SCRIPT: list[Item] = [Calls(("EchoAgentTask-echo", {"text": "hello"})), answer]


async def test_a_scripted_model_plans_and_is_opened_and_closed_with_the_mesh() -> None:
    model = ModelServer(SCRIPT)
    async with open_mesh(EchoAgent(), model=model) as mesh:
        assert await (await mesh.run("Make it say hello")).result() == "It said hello."
    assert len(model.requests) == 2
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", int(model.url.split(":")[2].split("/")[0]))


async def test_a_model_that_is_open_stays_open() -> None:
    async with ModelServer(SCRIPT * 2) as model:
        for _ in range(2):
            async with open_mesh(EchoAgent(), model=model) as mesh:
                assert await (await mesh.run("Make it say hello")).result() == "It said hello."


async def test_an_assertion_in_the_script_fails_the_test() -> None:
    def wrong(request: Request) -> str:
        raise AssertionError("not what was expected")

    async def test() -> None:
        async with open_mesh(EchoAgent(), model=ModelServer([wrong])) as mesh:
            run = await mesh.run("Make it say hello")
            assert [event.type async for event in run.events()][-1] == "failed"

    with pytest.raises(AssertionError, match="not what was expected"):
        await test()


async def test_neither_a_file_nor_the_environment_has_a_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agentmesh.yaml").write_text("broker: local://mesh\nmodel: expensive\n")
    monkeypatch.setenv("AGENTMESH_MODEL", "expensive")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("AGENTMESH_TENANT", "acme")
    async with open_mesh(EchoAgent()) as mesh:
        assert "made by rule" in await (await mesh.run("say hello")).result()
        assert (mesh.config.api_key, mesh.config.tenant) == (None, None)
    assert not (tmp_path / "mesh").exists()


async def test_options_are_those_of_a_mesh(tmp_path: Path) -> None:
    class WhoAgent(Agent):
        @skill
        async def who(self, ctx: Context) -> list[str]:
            return [ctx.tenant, ctx.principal]

    for _ in range(2):
        async with open_mesh(WhoAgent(), broker=f"local://{tmp_path}", tenant="acme", principal="ann") as mesh:
            call = await mesh.start("WhoAgentTask", key="k")
            assert await call.result() == ["acme", "ann"]
            assert sum([event.type == "accepted" async for event in call.events()]) == 1


async def test_a_declaration_that_is_wrong_is_told() -> None:
    with pytest.raises(DeclarationError, match="no-such-folder"):
        async with open_mesh("no-such-folder"):
            pass


CONFTEST = 'pytest_plugins = ["agentmesh.testing.fixtures"]\n'
TESTS = '''
import pytest

from agentmesh import Agent, Context, Retryable, skill

pytestmark = pytest.mark.RUNNER


class PatientAgent(Agent):
    """Needs an hour."""

    @skill
    async def work(self, ctx: Context) -> int:
        if ctx.attempt == 1:
            raise Retryable(after=3600)
        return ctx.attempt


class EchoAgent(Agent):
    """Gives back what it is given."""

    @skill
    def echo(self, text: str) -> str:
        return text


async def test_a_mesh(mesh):
    await mesh.serve(EchoAgent())
    assert await mesh.call("EchoAgentTask", {"text": "hello"}) == "hello"


async def test_its_clock(clock, mesh):
    await mesh.serve(PatientAgent())
    call = await mesh.start("PatientAgentTask")
    await clock.advance(3599)
    assert (await call.state()).terminal is None
    await clock.advance(1)
    assert await call.result() == 2
'''


@pytest.mark.parametrize(
    "options",
    [
        ["test_asyncio.py", "test_anyio.py", "-o", "asyncio_mode=strict"],
        ["test_asyncio.py", "-o", "asyncio_mode=auto"],
        ["test_anyio.py", "-p", "no:asyncio"],
    ],
    ids=["side by side", "pytest-asyncio, auto", "anyio alone"],
)
def test_the_fixtures_work_with_the_plugins_for_async_tests(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for runner in ("asyncio", "anyio"):
        (tmp_path / f"test_{runner}.py").write_text(TESTS.replace("RUNNER", runner))
    if "no:asyncio" not in options:
        options = [*options, "-o", "asyncio_default_fixture_loop_scope=function"]
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    passed = 2 * sum(option.endswith(".py") for option in options)
    assert f"\n{passed} passed" in done.stdout, done.stdout + done.stderr
