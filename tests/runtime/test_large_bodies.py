"""Large bodies through a mesh: they come back as they were, lie in the store by themselves, and fail clearly."""

import asyncio
import os
import resource
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from agentmesh import (
    Agent,
    BrokerUnavailable,
    CallFailed,
    ConfigError,
    Conflict,
    Context,
    InvalidOutput,
    Mesh,
    PayloadCorrupt,
    PayloadTooLarge,
    skill,
)
from agentmesh.broker.local.folder import Folder
from agentmesh.clock import ManualClock
from agentmesh.contracts import Append, Delivery, Retry
from agentmesh.ids import new_token
from agentmesh.message import Claim, Draft, Message

MB = 1_000_000
TOPIC = "EchoAgentTask"


class EchoAgent(Agent):
    """Gives back what it is given, in every way there is."""

    delivery = Delivery(retry=Retry(lost=3, attempts=2))

    def __init__(self) -> None:
        self.ran: list[int] = []

    @skill
    async def echo(self, text: str, *, ctx: Context) -> str:
        """Give it back."""
        self.ran.append(ctx.attempt)
        return text

    @skill
    async def grow(self, size: int) -> str:
        """Return more than there was."""
        return "x" * size

    @skill
    async def all_ways(self, text: str, *, ctx: Context) -> str:
        """Give it back in pieces too."""
        self.ran.append(ctx.attempt)
        await ctx.emit(text)
        await ctx.artifact("json", {"text": text})
        await ctx.artifact("bytes", text.encode(), "text/plain")
        await ctx.journal("noted", {"text": text}, id="noted")
        kept = await ctx.once("kept", lambda: text)
        back = await ctx.call(TOPIC, {"text": kept}, skill="echo")
        await ctx.memory.set("text", back)
        return str(await ctx.memory.get("text"))

    @skill
    async def ask(self, text: str, *, ctx: Context) -> str:
        """Ask before it gives it back."""
        self.ran.append(ctx.attempt)
        kept = await ctx.once("kept", lambda: text)
        return kept + await ctx.ask("Go on?")

    @skill
    def plain(self, text: str, ctx: Context) -> str:
        """From a thread."""
        ctx.emit(text)  # type: ignore[unused-coroutine]
        return str(ctx.once("kept", lambda: text))


@pytest.fixture
def agent() -> EchoAgent:
    return EchoAgent()


@pytest.fixture
async def mesh(url: str, agent: EchoAgent) -> AsyncIterator[Mesh]:
    async with Mesh(url, drain=0, blob_threshold=1000, blob_limit="2MB") as opened:
        await opened.serve(agent)
        yield opened


async def claims(mesh: Mesh, lite_topic: str) -> dict[str, Claim]:
    """Of each type, what lies in the store."""
    entries = await mesh.broker.read(lite_topic)
    return {entry.type: entry.data for entry in entries if isinstance(entry.data, Claim)}


def blob_files(mesh: Mesh) -> list[Path]:
    folder = Path(mesh.config.broker.removeprefix("local://")) / "blobs"
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.promise(6)
@pytest.mark.timeout(180)
async def test_a_hundred_megabytes_go_in_and_out(url: str, agent: EchoAgent) -> None:
    text = "杭州" + "y" * (100 * MB - 100)
    async with Mesh(url, drain=0) as mesh:
        await mesh.serve(agent)
        call = await mesh.start(TOPIC, {"text": text}, skill="echo")
        assert await call.result() == text
        assert set(await claims(mesh, call.id)) == {"completed"}
    assert agent.ran == [1]


def peak(pid: int) -> int:
    """The most memory (bytes) that the process ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.promise(6)
@pytest.mark.timeout(180)
async def test_the_process_that_hosts_does_not_grow_with_the_bodies(tmp_path: Path, agent: EchoAgent) -> None:
    text = "y" * (100 * MB - 100)
    async with Mesh(f"local://{tmp_path}/mesh", drain=0, alone=False) as mesh:
        await mesh.serve(agent)
        await mesh.call(TOPIC, {"text": "x" * 300_000}, skill="echo")
        holder = Folder(tmp_path / "mesh").holder()
        assert holder
        assert holder.pid != os.getpid()
        before = peak(holder.pid)
        assert await mesh.call(TOPIC, {"text": text}, skill="echo") == text
        assert peak(holder.pid) - before < 5 * MB


@pytest.mark.promise(6)
@pytest.mark.parametrize("size", [10, 950, 1050, 100_000, 1_900_000])
async def test_a_body_of_any_size_comes_back_in_every_way_it_was_sent(mesh: Mesh, size: int) -> None:
    text = ("天" + "y" * size)[:size]
    for name in ("echo", "all_ways", "plain"):
        call = await mesh.start(TOPIC, {"text": text}, skill=name)
        assert await call.result() == text
    call = await mesh.start(TOPIC, {"text": text}, skill="all_ways")
    events = [event async for event in call.events()]
    assert [event.data for event in events if event.type == "delta"] == [{"text": text}]
    assert [event.data["data"] for event in events if event.type == "artifact"] == [{"text": text}, text.encode()]
    assert [event.data for event in events if event.type == "noted"] == [{"text": text}]
    assert events[-1].data == {"result": text}
    assert events == [event async for event in (await mesh.attach(call.id)).events()]


async def test_what_is_small_stays_inline_and_what_is_large_does_not(mesh: Mesh) -> None:
    small = await mesh.start(TOPIC, {"text": "x" * 700}, skill="all_ways")
    await small.result()
    assert await claims(mesh, small.id) == {}
    large = await mesh.start(TOPIC, {"text": "x" * 1100}, skill="all_ways")
    await large.result()
    found = await claims(mesh, large.id)
    assert set(found) == {"delta", "artifact", "noted", "step", "completed"}
    assert found["step"].facts
    assert found["step"].facts["kind"] == "call"
    assert found["completed"].facts == {}


async def test_equal_bodies_of_a_tenant_share_one_blob_and_tenants_share_none(mesh: Mesh) -> None:
    text = "x" * 5000
    digests = set()
    for tenant in ("acme", "acme", "other"):
        call = await mesh.start(TOPIC, {"text": text}, skill="all_ways", tenant=tenant)
        await call.result()
        found = await claims(mesh, call.id)
        assert found["delta"].digest == found["step"].digest == found["completed"].digest
        digests.add(found["completed"].digest)
    assert len(digests) == 2


async def test_the_same_key_with_the_same_large_input_is_the_same_call(mesh: Mesh) -> None:
    first = await mesh.start(TOPIC, {"text": "x" * 5000}, skill="echo", key="k")
    second = await mesh.start(TOPIC, {"text": "x" * 5000}, skill="echo", key="k")
    assert first.id == second.id
    with pytest.raises(Conflict, match="another topic, skill or input"):
        await mesh.start(TOPIC, {"text": "x" * 5001}, skill="echo", key="k")


async def test_a_recorded_large_step_comes_back_in_the_next_attempt(url: str) -> None:
    text = "x" * 5000
    before, after = EchoAgent(), EchoAgent()
    async with Mesh(url, drain=0, blob_threshold=1000) as mesh:
        await mesh.serve(before)
        call = await mesh.start(TOPIC, {"text": text}, skill="ask")
        async for event in call.events():
            if event.type == "input_required":
                break
    async with Mesh(url, drain=0) as mesh:
        await mesh.serve(after)
        again = await mesh.attach(call.id)
        await again.answer("!")
        assert await again.result() == text + "!"
    assert (before.ran, after.ran) == ([1], [2])


async def test_logs_of_ones_own_hold_large_entries(mesh: Mesh) -> None:
    log = mesh.lite_topic("笔记")
    values: list[Any] = [{"a": "x" * 5000}, ["y"] * 3000, "z" * 5000, {"b": 1}]
    for value in values:
        await log.append(value)
    assert [entry.data for entry in await log.read()] == values
    followed = []
    async for entry in log.follow():
        followed.append(entry.data)
        if len(followed) == len(values):
            break
    assert followed == values


async def test_a_session_remembers_a_long_goal(url: str) -> None:
    async with Mesh(url, drain=0, blob_threshold=1000) as mesh:
        await mesh.serve(EchoAgent())
        run = await mesh.run("看 " + "x" * 5000, session="s1")
        async for event in run.events():
            last = event
        assert last.type in ("completed", "failed")
        again = await mesh.run("y" * 5000, session="s1")
        async for event in again.events():
            last = event
        assert last.type in ("completed", "failed")


# Too large


async def test_an_input_over_the_limit_is_refused_with_the_limit(mesh: Mesh, agent: EchoAgent) -> None:
    with pytest.raises(PayloadTooLarge, match=r"input has 2,0\d\d,\d{3} bytes, and 2,000,000 .*blob_limit"):
        await mesh.start(TOPIC, {"text": "x" * (2 * MB)}, skill="echo")
    with pytest.raises(PayloadCorrupt, match="limit"):
        await mesh.lite_topic("x").append("x" * (2 * MB))
    assert await mesh.broker.list() == []


async def test_a_result_over_the_limit_fails_the_call_once(mesh: Mesh) -> None:
    with pytest.raises(InvalidOutput, match="2,000,000 is the limit"):
        await mesh.call(TOPIC, {"size": 2 * MB}, skill="grow")


async def test_a_question_is_no_body_and_has_the_brokers_limit(mesh: Mesh) -> None:
    broker = mesh.broker
    with pytest.raises(PayloadTooLarge, match=r"4,000,000.*blob store"):
        await broker.append("log-x", [Draft("data", "x" * 4 * MB)])
    with pytest.raises(PayloadTooLarge, match=r"call-x has 4,0.*4,000,000"):
        await broker.publish(Message(id="call-x", topic=TOPIC, body=b"x" * 4 * MB))
    await broker.append("log-x", [Draft("data", "x" * 3_900_000)])


# Damage


@pytest.fixture
async def local(tmp_path: Path, agent: EchoAgent) -> AsyncIterator[Mesh]:
    async with Mesh(f"local://{tmp_path / 'mesh'}", drain=0, blob_threshold=1000) as opened:
        yield opened


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda path: os.truncate(path, 10), r"has 10 bytes, and 5011 were put"),
    "emptied": (lambda path: os.truncate(path, 0), r"has 0 bytes, and 5011 were put"),
    "grown": (lambda path: path.write_bytes(path.read_bytes() + b"x"), r"has more than 5011 bytes"),
    "altered": (lambda path: path.write_bytes(b"?" + path.read_bytes()[1:]), r"holds something else: its digest is"),
    "missing": (lambda path: path.unlink(), r"is not there"),
}


@pytest.mark.promise(6)
@pytest.mark.parametrize("damage", DAMAGES)
async def test_an_input_that_was_damaged_fails_the_call_once_with_the_reason(
    local: Mesh, agent: EchoAgent, damage: str
) -> None:
    await local.broker.declare(TOPIC, agent.delivery)
    how, message = DAMAGES[damage]
    async with Mesh(local.config.broker, drain=0, blob_threshold=1000) as other:
        await other.serve(agent)
        await other._serving._workers[0].stop(0)
        call = await local.start(TOPIC, {"text": "x" * 5000}, skill="echo")
        (file,) = blob_files(local)
        how(file)
        await other.serve(agent)
        with pytest.raises(CallFailed, match=f"PayloadCorrupt: Blob {file.name}.*{message}") as caught:
            await call.result()
    assert caught.value.call_id == call.id
    assert agent.ran == []
    assert [entry.type for entry in await local.broker.read(call.id)] == ["submitted", "accepted", "failed"]


@pytest.mark.promise(6)
@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_result_that_was_damaged_is_named_to_its_reader(local: Mesh, agent: EchoAgent, damage: str) -> None:
    await local.serve(agent)
    call = await local.start(TOPIC, {"size": 5008}, skill="grow")
    await call.result()
    (file,) = blob_files(local)
    DAMAGES[damage][0](file)
    with pytest.raises(PayloadCorrupt, match=f"Offset 2: Blob {file.name}.*{DAMAGES[damage][1]}"):
        await call.result()
    with pytest.raises(PayloadCorrupt, match="Offset 2"):
        [event async for event in call.events()]
    assert [event.type async for _, event in call.watch()] == ["submitted", "accepted", "completed"]


async def test_a_damaged_entry_does_not_keep_readers_from_the_others(local: Mesh) -> None:
    log = local.lite_topic("x")
    for value in ("a", "x" * 5000, "b"):
        await log.append(value)
    blob_files(local)[0].unlink()
    with pytest.raises(PayloadCorrupt, match="Offset 1: .*not there"):
        await log.read()
    assert [entry.data for entry in await log.read(after=1)] == ["b"]


async def test_a_body_that_was_damaged_is_mended_by_sending_it_again(local: Mesh, agent: EchoAgent) -> None:
    await local.serve(agent)
    call = await local.start(TOPIC, {"size": 5008}, skill="grow")
    await call.result()
    (file,) = blob_files(local)
    file.write_bytes(b"?" * file.stat().st_size)
    assert await local.call(TOPIC, {"size": 5008}, skill="grow") == "x" * 5008
    assert await call.result() == "x" * 5008


async def test_another_tenants_digest_opens_nothing(local: Mesh, agent: EchoAgent) -> None:
    await local.serve(agent)
    call = await local.start(TOPIC, {"size": 5000}, skill="grow", tenant="acme")
    await call.result()
    stolen = (await claims(local, call.id))["completed"]
    thief = Message(id="call-thief", topic=TOPIC, skill="echo", blob=str(stolen), tenant="thief")
    await local.broker.publish(thief)
    with pytest.raises(CallFailed, match="another tenant's"):
        await (await local.attach("call-thief")).result()
    await local.broker.append(local.lite_topic("x").lite_topic, [Draft("data", stolen)])
    with pytest.raises(PayloadCorrupt, match="another tenant's"):
        await local.lite_topic("x").read()


async def test_a_claim_of_something_else_is_no_result(local: Mesh) -> None:
    await local.broker.declare("OtherTask", Delivery())
    await local.broker.publish(Message(id="call-other", topic="OtherTask"))
    (lease,) = await local.broker.lease(["OtherTask"], 1, 5, worker="w")
    claim = await local._open_client().bodies.put("default", b"\x81\xa1a\x01")
    bad = [
        Draft("step", Claim(claim.digest, claim.size, {"key": 1}), attempt=1, token=lease.token),
        Draft("answered", Claim(claim.digest, claim.size, {"question": "q", "text": "t"})),
        Draft("delta", Claim(claim.digest, claim.size, {}), attempt=1, token=lease.token),
    ]
    await local.broker.ack(lease, [Append("call-other", bad)])
    other = await local.attach("call-other")
    assert [event.type for event in (await other.state()).events] == ["submitted", "accepted", "delta"]
    with pytest.raises(PayloadCorrupt, match="does not hold the data of a 'delta' entry"):
        async for _ in other.events():
            pass


# The store


async def test_a_store_that_cannot_be_used_is_said_at_opening(url: str) -> None:
    for blobs, message in (
        ("nope://x", "Protocol not known"),
        ("file:///proc/nowhere", "cannot be used"),
        ("plain", "address"),
    ):
        with pytest.raises(ConfigError, match=message):
            async with Mesh(url, blobs=blobs):
                pass
    async with Mesh(url, drain=0) as mesh:
        await mesh.lite_topic("x").append("x" * 300_000)


@pytest.mark.parametrize("scheme", ["file", "local", "memory"])
async def test_a_mesh_keeps_its_bodies_where_its_url_says(
    url: str, tmp_path: Path, scheme: str, agent: EchoAgent
) -> None:
    blobs = f"{scheme}://{tmp_path}/elsewhere"
    async with Mesh(url, drain=0, blobs=blobs) as mesh:
        await mesh.serve(agent)
        assert await mesh.call(TOPIC, {"text": "x" * 300_000}, skill="echo") == "x" * 300_000
        if scheme != "memory":
            assert len([path for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()]) == 2
    async with Mesh(url, drain=0) as mesh:
        await mesh.serve(agent)
        assert await mesh.call(TOPIC, {"text": "x" * 300_000}, skill="echo") == "x" * 300_000
    with pytest.raises(ConfigError, match="blobs="):
        async with Mesh(url, blobs="memory://other"):
            pass


async def test_an_unwritable_folder_fails_the_start_and_stores_nothing(local: Mesh, agent: EchoAgent) -> None:
    await local.serve(agent)
    folder = Path(local.config.broker.removeprefix("local://"))
    (folder / "blobs").write_text("in the way")
    with pytest.raises(BrokerUnavailable, match=r"blobs cannot be used .*rights"):
        await local.start(TOPIC, {"text": "x" * 5000}, skill="echo")
    assert await local.broker.list() == []
    assert await local.call(TOPIC, {"text": "small"}, skill="echo") == "small"


@pytest.mark.promise(6)
async def test_a_full_disk_fails_the_start_and_delays_a_result_until_there_is_room(
    local: Mesh, agent: EchoAgent
) -> None:
    await local.serve(agent)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, before[1]))
    try:
        with pytest.raises(BrokerUnavailable, match=r"the disk is full .*free some room"):
            await local.start(TOPIC, {"text": "x" * 800_000}, skill="echo")
        assert await local.broker.list() == []
        assert blob_files(local) == []
        with capture_logs() as logs:
            call = await local.start(TOPIC, {"size": 900_000}, skill="grow")
            while "cannot store a result yet" not in [each["event"] for each in logs]:
                await asyncio.sleep(0.01)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert await call.result() == "x" * 900_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A mesh's folder whose blobs have a megabyte of their own."""
    blobs = tmp_path / "small" / "blobs"
    blobs.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(blobs)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount")
    yield blobs.parent
    subprocess.run(["umount", "-l", str(blobs)], check=True)


async def test_a_small_disk_that_is_full_leaves_no_half(small_disk: Path, agent: EchoAgent) -> None:
    async with Mesh(f"local://{small_disk}", drain=0, blob_threshold=1000) as mesh:
        await mesh.serve(agent)
        with pytest.raises(BrokerUnavailable, match="the disk is full"):
            await mesh.start(TOPIC, {"text": "x" * 2 * MB}, skill="echo")
        assert blob_files(mesh) == []
        assert await mesh.call(TOPIC, {"text": "x" * 100_000}, skill="echo") == "x" * 100_000


async def test_the_blob_store_s_absence_is_tried_again(tmp_path: Path) -> None:
    """A store that fails for a moment costs an attempt, not the call."""
    clock, agent = ManualClock(), EchoAgent()
    async with Mesh(f"local://{tmp_path / 'mesh'}", drain=0, blob_threshold=1000, clock=clock) as mesh:
        await mesh.serve(agent)
        call = await mesh.start(TOPIC, {"text": "x" * 5000}, skill="echo", delay=10)
        (file,) = blob_files(mesh)
        file.rename(file.with_suffix(".kept"))
        file.mkdir()  # reading it is an error of the system, and says nothing about the blob
        result = asyncio.create_task(call.result())
        await clock.advance(10)
        while "retrying" not in [entry.type for entry in await mesh.broker.read(call.id)]:
            await asyncio.sleep(0.01)
        file.rmdir()
        file.with_suffix(".kept").rename(file)
        await clock.advance(60)
        assert await result == "x" * 5000
    assert agent.ran == [2]


async def test_memory_meshes_of_one_name_share_their_bodies(agent: EchoAgent) -> None:
    url = f"memory://{new_token()}"
    async with Mesh(url, drain=0) as first, Mesh(url, drain=0) as second:
        await first.serve(agent)
        call = await second.start(TOPIC, {"text": "x" * 300_000}, skill="echo")
        assert await call.result() == "x" * 300_000
        assert await (await first.attach(call.id)).result() == "x" * 300_000


async def test_the_broker_holds_nothing_of_a_body(url: str, agent: EchoAgent) -> None:
    async with Mesh(url, drain=0) as mesh:
        await mesh.serve(agent)
        call = await mesh.start(TOPIC, {"text": "x" * 10 * MB}, skill="echo")
        await call.result()
        stored = [str(entry) for entry in await mesh.broker.read(call.id)]
        assert max(map(len, stored)) < 2000
        state: Any = getattr(mesh.broker, "state", None) or mesh.broker.hosted.broker.state  # type: ignore[attr-defined]
        rows = state.logs.rows(call.id, -1, 100)
        assert sum(len(row[3]) for row in rows) < 2000
