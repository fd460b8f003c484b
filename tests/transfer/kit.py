"""A mesh with some of everything, much of it in Chinese, and what must be the same elsewhere."""

import io
from dataclasses import dataclass, field
from typing import Any

import msgspec

from agentmesh import Agent, Context, Mesh, skill
from agentmesh.card import read_card, write_card
from agentmesh.clock import Clock, SystemClock
from agentmesh.contracts import Delivery, Registration, Retry, Tenant
from agentmesh.fold import fold
from agentmesh.ids import digest, memory_log, new_id, session_log
from agentmesh.message import CALL_DEADLINE, Claim, Draft, Message, to_json
from agentmesh.runtime.bodies import Bodies
from agentmesh.runtime.reading import read_all
from agentmesh.runtime.transfer import Imported, Place, Sofar, export_mesh, import_mesh, write_to

LARGE = "很长的正文。" * 1000
THRESHOLD = 1_000
WAITING = "WaitingAgentTask"
ACME = Tenant("租户甲", weight=3, ceiling=8)


class KitAgent(Agent):
    """做各种事情。"""

    topic = "KitAgentTask"

    @skill(examples=["重复一遍"])
    async def echo(self, text: str) -> dict:
        """原样返回。"""
        return {"text": text}

    @skill
    async def fail(self) -> None:
        """失败。"""
        raise ValueError("故意的")


class WaitingAgent(Agent):
    """Works through what waited."""

    topic = WAITING
    version = "1.0.0"

    def __init__(self) -> None:
        self.done: list[str] = []
        self.booked: list[str] = []

    @skill
    async def work(self, text: str, *, ctx: Context) -> dict:
        """Take note."""
        self.done.append(text)
        return {"text": text}

    @skill
    async def book(self, room: str, *, ctx: Context) -> dict:
        """Book once, then ask."""

        async def book() -> str:
            self.booked.append(room)
            return f"订单-{room}"

        order = await ctx.once("订房", book)
        return {"order": order, "who": await ctx.ask("谁住？")}


@dataclass
class Filled:
    """What a mesh was filled with: ids by what they are for."""

    ended: dict[str, str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    begun: str = ""
    dead: str = ""


def mesh(url: str, **arguments: Any) -> Mesh:
    return Mesh(url, blob_threshold=THRESHOLD, drain=0, **arguments)


def bodies(mesh: Mesh) -> Bodies:
    return Bodies(mesh.blobs, SystemClock(), THRESHOLD, 100_000_000)


async def fill(mesh: Mesh) -> Filled:
    """Some of everything. The agent of `WAITING` is not served: its tasks wait."""
    filled = Filled()
    await mesh.serve(KitAgent())
    await _operate(mesh)
    await _calls(mesh, filled)
    filled.begun = await _begun(mesh)
    await _tasks(mesh, filled)
    filled.dead = await _dead_letter(mesh)
    await _logs(mesh)
    await mesh.broker.set_tenant(msgspec.structs.replace(ACME, waiting=2, running=1))
    return filled


async def _operate(mesh: Mesh) -> None:
    await mesh.broker.set_tenant(ACME)
    card = read_card(write_card(WaitingCard))
    for version in ("1.0.0", "1.1.0"):
        await mesh.registry.register(Registration(WAITING, version, card, "elsewhere"))
    await mesh.registry.remove(WAITING, "elsewhere")
    await mesh.broker.declare(WAITING, Delivery(retry=Retry(lost=7), concurrency=2))


async def _calls(mesh: Mesh, filled: Filled) -> None:
    for name, text in (("small", "你好"), ("large", LARGE)):
        call = await mesh.start("KitAgentTask", {"text": text}, skill="echo", key=name)
        await call.result()
        filled.ended[name] = call.id
    failed = await mesh.start("KitAgentTask", {}, skill="fail")
    async for _ in failed.events():
        pass
    filled.ended["failed"] = failed.id
    cancelled = await mesh.start(WAITING, {"text": "取消"}, skill="work", version="1.0.0")
    await cancelled.cancel()
    filled.ended["cancelled"] = cancelled.id
    late = await mesh.start(WAITING, {"text": "迟"}, skill="work", version="1.0.0", deadline=0.001)
    async for _ in late.events():
        pass
    filled.ended["late"] = late.id


async def _tasks(mesh: Mesh, filled: Filled) -> None:
    for options in (
        {"priority": 9, "version": "1.0.0"},
        {"delay": 3600, "version": "1.0.0"},
        {"tenant": "租户甲", "priority": 8, "version": "1.0.0"},
        {"tenant": "租户甲", "session": "会话", "version": "1.0.0"},
    ):
        call = await mesh.start(WAITING, {"text": f"等 {options}"}, skill="work", **options)
        filled.waiting.append(call.id)
    large = await mesh.start(WAITING, {"text": LARGE}, skill="work", tenant="租户甲", version="1.0.0")
    filled.waiting.append(large.id)


async def _dead_letter(mesh: Mesh) -> str:
    """A task that raised twice and died."""
    broker = mesh.broker
    await broker.declare("DeadAgentTask", Delivery())
    now = SystemClock().now()
    message = Message(
        id=new_id("call"),
        topic="DeadAgentTask",
        skill="x",
        body=to_json({"text": LARGE}),
        created=now,
        deadline=now + CALL_DEADLINE,
        tenant="租户甲",
    )
    await broker.publish(await bodies(mesh).sent(message))
    (lease,) = await broker.lease(["DeadAgentTask"], 1, 5, worker="w")
    await broker.nack(lease, error="ValueError: 第一次")
    (lease,) = await broker.lease(["DeadAgentTask"], 1, 5, worker="w")
    await broker.nack(lease, dead="三次都失败了")
    return message.id


async def _begun(mesh: Mesh) -> str:
    """A call whose handler has booked and asks: its worker is gone with it."""
    call = await mesh.start(WAITING, {"room": "三零一"}, skill="book", tenant="租户甲", version="1.0.0", priority=8)
    (found,) = await mesh.broker.lease([WAITING], 1, 5, worker="w", lanes=["1.0.0"])

    def said(kind: str, data: Any, entry_id: str = "") -> Draft:
        return Draft(kind, data, entry_id, found.attempt, found.token)

    step = {"key": "订房", "kind": "once", "digest": ""}
    await mesh.broker.append(
        call.id,
        [
            said("progress", {"message": "开始", "fraction": 0.1}),
            said("step", {**step, "result": "订单-三零一"}, f"step-{digest('订房')}-end"),
            said("delta", {"text": "一半"}),
        ],
        lease=found,
    )
    return call.id


async def _logs(mesh: Mesh) -> None:
    notes = mesh.lite_topic("笔记 42")
    for number in range(450):
        await notes.append({"第": number}, id=f"n{number}")
    await notes.append({"长": LARGE})
    await mesh.broker.append("plain-1", [Draft("data", {"没有": "编号"}), Draft("data", [1, None, "三"])])
    written = await bodies(mesh).written("租户甲", [Draft("goal", {"run": "r", "goal": LARGE}, "goal-r")])
    await mesh.broker.append(session_log("租户甲", "会话"), written, title="会话")
    await mesh.broker.append(memory_log("租户甲", "小明"), [Draft("data", {"key": "颜色", "value": "蓝"}, "m1")])


WaitingCard = read_card(
    {
        "name": "等待者",
        "version": "1.0.0",
        "description": "等着做事。",
        "supportedInterfaces": [],
        "skills": [{"id": name, "name": name, "description": "做事", "tags": ["事"]} for name in ("work", "book")],
    }
)


def place(mesh: Mesh, name: str = "memory://kit", clock: Clock | None = None) -> Place:
    return Place(mesh.broker, mesh.registry, mesh.blobs, clock or SystemClock(), name)


async def exported(mesh: Mesh) -> tuple[bytes, Sofar]:
    """The mesh as bytes."""
    file = io.BytesIO()
    sofar = await export_mesh(place(mesh), write_to(file))
    return file.getvalue(), sofar


async def imported(mesh: Mesh, raw: bytes, clock: Clock | None = None, **options: Any) -> Imported:
    return await import_mesh(place(mesh, clock=clock), io.BytesIO(raw), "the export", **options)


async def contents(mesh: Mesh) -> dict[str, Any]:
    """All that can be seen of a mesh by its contracts and must be the same elsewhere."""
    broker = mesh.broker
    found: dict[str, Any] = {
        "tenants": await broker.tenants(),
        "agents": [(each.topic, each.version, write_card(each.card)) for each in await mesh.registry.list(alive=False)],
    }
    after = ""
    while page := await broker.list("", after, 1000):
        for info in page:
            if not info.title.startswith("agentmesh import "):
                found[info.lite_topic] = await _log(mesh, info.lite_topic, info.title)
        after = page[-1].lite_topic
    for stats in await broker.stats():
        found[f"tasks of {stats.topic}"] = await _queue(mesh, stats.topic, dead=False) if stats.topic else ()
        found[f"dead letters of {stats.topic}"] = await _queue(mesh, stats.topic, dead=True) if stats.dead else []
    return found


async def _log(mesh: Mesh, name: str, title: str) -> Any:
    entries = await read_all(mesh.broker, name)
    state = fold(entries, SystemClock().now())
    if state.submitted is None:
        return title, [(each.type, await _data(mesh, each.data, each.type)) for each in entries]
    tenant = state.submitted["tenant"]
    end = state.terminal and (
        state.terminal.type,
        None
        if state.terminal.type == "dead_lettered"
        else await _data(mesh, state.terminal.data, state.terminal.type, tenant),
    )
    steps = {key: await _data(mesh, value, "step", tenant) for key, value in state.steps.items()}
    kept = {key: state.submitted[key] for key in ("topic", "skill", "tenant", "priority", "session", "lane")}
    if end and end[0] == "dead_lettered":
        kept.pop("lane")
    return kept, end, steps, state.questions, state.answers


async def _data(mesh: Mesh, data: Any, kind: str, tenant: str = "") -> Any:
    if type(data) is not Claim:
        return data
    for each in [tenant] if tenant else ["default", "租户甲"]:
        try:
            return await bodies(mesh).data(each, kind, data)
        except Exception as error:
            last = error
    raise last


async def _queue(mesh: Mesh, topic: str, *, dead: bool) -> list[Any]:
    found = []
    for stored in await mesh.broker.browse(topic, 0, 1000, dead=dead):
        message = stored.message
        if not dead and message.deadline < SystemClock().now():  # it is still there until the queue tidies up
            continue
        body = bytes(await bodies(mesh).body(message))
        timing = () if dead else (message.not_before, message.deadline, message.created, message.lane)
        facts = (message.id, message.skill, body, message.priority, message.tenant, message.key, message.session)
        found.append((*facts, *timing, stored.reason))
    return sorted(found, key=lambda each: each[0])
