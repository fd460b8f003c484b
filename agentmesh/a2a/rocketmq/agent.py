"""RocketMQA2AAgent: an agent that speaks rocketmq-a2a, as an agent of a mesh."""

import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from agentmesh.a2a.rocketmq.exchange import Exchange
from agentmesh.a2a.rocketmq.interface import interface_of
from agentmesh.a2a.rocketmq.link import Link
from agentmesh.broker.rocketmq.address import read_address
from agentmesh.card import AgentCard, AgentSkill, read_card
from agentmesh.contracts import Delivery
from agentmesh.errors import BrokerUnavailable, ConfigError
from agentmesh.ids import TOPIC, digest
from agentmesh.runtime.agent import Agent, skill
from agentmesh.runtime.context import Context
from agentmesh.runtime.skills import SKILL_ID

_OTHER: Final = re.compile(r"[^A-Za-z0-9_-]+")


class RocketMQA2AAgent(Agent):
    """Stands for the remote agent of an A2A card, which is reached over RocketMQ. Served in a mesh, its skills can be
    called like any other's.

    `card` is an `AgentCard` or its JSON data, of A2A 0.3 or 1.0, with an interface of the transport RocketMQ.
    `broker_url` (rocketmq://HOST:PORT?remoting=HOST:PORT) is the cluster that it lives on; without it the endpoint that
    the card tells. `topic` is the mesh's name for it, by default the card's name + "Task". Every skill takes a
    `message` (text, which may be empty beside data) and optionally `data` (a JSON object). Raises `ConfigError`, and
    `PayloadCorrupt` for what is no card.
    """

    delivery = Delivery(concurrency=64, timeout=0)
    _remote: ClassVar[AgentCard]

    def __new__(cls, card: AgentCard | Mapping[str, Any], **_options: Any) -> Self:
        """An instance of a class of its own, whose methods are the card's skills."""
        known = card if isinstance(card, AgentCard) else read_card(card)
        methods = {f"skill_{number}": _method(each) for number, each in enumerate(known.skills or (_ANY,))}
        described = {"description": known.description, "version": known.version or cls.version, "name": known.name}
        return super().__new__(type(cls.__name__, (cls,), {**methods, **described, "_remote": known}))

    def __init__(
        self,
        card: AgentCard | Mapping[str, Any],  # noqa: ARG002
        *,
        broker_url: str = "",
        topic: str = "",
        access_key: str = "",
        secret_key: str = "",
    ) -> None:
        self._interface = interface_of(self._remote)
        self._address = read_address(broker_url or f"rocketmq://{self._interface.endpoint}", access_key, secret_key)
        self.topic = topic or f"{_OTHER.sub('', self._remote.name)}Task"
        if not TOPIC.match(self.topic):
            raise ConfigError(f"{self._remote.name!r} does not make the name of a topic: give one as topic=.")
        self._link: Link | None = None

    async def __aenter__(self) -> Self:
        """Connect. Raises `BrokerUnavailable`, `ConfigError`, `Unauthorized`."""
        link = Link(self._address, self._interface)
        try:
            await link.open()
        except BaseException:
            await link.close()
            raise
        self._link = link
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        link, self._link = self._link, None
        if link:
            await link.close()

    async def forward(self, skill_id: str, message: str, data: dict[str, Any] | None, ctx: Context) -> Any:
        """Call the remote agent's skill. Raises what `Exchange.run` raises."""
        if self._link is None:
            raise BrokerUnavailable(f"{self.name} is not served any more.")
        parts: list[dict[str, Any]] = [{"kind": "text", "text": message}] if message or data is None else []
        parts += [] if data is None else [{"kind": "data", "data": data}]
        sent: dict[str, Any] = {"kind": "message", "role": "user", "messageId": ctx.call_id, "parts": parts}
        sent |= {"contextId": ctx.session} if ctx.session else {}
        sent |= {"metadata": {"skill": skill_id}} if skill_id else {}
        streaming = self._remote.capabilities.streaming
        exchange = Exchange(self.name, self._interface, self._link, ctx, streaming=streaming)
        return await exchange.run(sent)


_ANY: Final = AgentSkill(id="", name="send", description="Send the agent a message.")
"""What an agent can be asked whose card names no skills."""


def _method(remote: AgentSkill) -> Any:
    """The method that forwards to a skill."""

    async def forward(self: RocketMQA2AAgent, message: str, data: dict[str, Any] | None = None, *, ctx: Context) -> Any:
        return await self.forward(remote.id, message, data, ctx)

    forward.__qualname__ = f"RocketMQA2AAgent.{remote.id}"
    marked = skill(
        id=_skill_id(remote.id or remote.name),
        name=remote.name,
        description=remote.description,
        tags=remote.tags,
        examples=remote.examples,
    )
    return marked(forward)


def _skill_id(remote: str) -> str:
    """The skill's id, if it can be one of ours; else one that is made of it."""
    if SKILL_ID.match(remote):
        return remote
    return f"s_{_OTHER.sub('_', remote)[:40]}_{digest(remote)[:8]}"
