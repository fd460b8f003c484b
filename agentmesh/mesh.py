"""Mesh: the front door, and the only place that chooses implementations."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from agentmesh.backends import open_backends
from agentmesh.card import PLANS
from agentmesh.clock import Clock, SystemClock
from agentmesh.config import CardSource, Config, load_config
from agentmesh.contracts import Blobs, Broker, ChatModel, Embedder, Planner, Registry
from agentmesh.errors import BrokerUnavailable, TopicNotFound
from agentmesh.ids import keyed_call, new_id, new_token
from agentmesh.message import DEFAULT_PRIORITY
from agentmesh.runtime.bodies import Bodies
from agentmesh.runtime.call import Call
from agentmesh.runtime.client import Client
from agentmesh.runtime.hub import Hub
from agentmesh.runtime.lite_topic import LiteTopic
from agentmesh.runtime.serving import Serving
from agentmesh.searching import Searching, choose_embedder

if TYPE_CHECKING:
    from agentmesh.catalog import Filters, Hit
    from agentmesh.llm.openai import OpenAIChat
    from agentmesh.runtime.agent import Agent
    from agentmesh.runtime.declaration import Declaration

SUPERVISOR: Final = "SupervisorAgentTask"
_DRAIN: Final = 5.0


class Mesh:
    """An open mesh: `async with Mesh("local:///var/lib/mesh") as mesh`.

    `broker` is `memory://NAME`, `local://DIR` or `rocketmq://HOST:PORT`, the last with `access_key` and `secret_key`
    where the cluster asks for them; `model` the language model's name. `registry` is where agents register and are
    found, one address or several: `mesh`, the broker's own and the default, `nacos://HOST:PORT` (with `registry_user`
    and `registry_password`, or `registry_token`), `direct`, which knows the `cards` (files, URLs or cards), and
    `https://BASE`, the well-known card of a server. What they told is kept in the folder `cache` for when they are
    away. `embedder` tells the meaning of texts for `search`: `use`, the default, `openai:MODEL`,
    `python:MODULE:FUNCTION` or `none`, or an `Embedder` or a function from a list of texts to their vectors itself.
    Every argument that is a text may come from `agentmesh.yaml` or `AGENTMESH_*` instead. With `tenant` the mesh sees
    that tenant's calls alone; without, it is an operator's. `drain` is how many seconds running handlers get to end
    when the mesh is left; what is not done by then is given back for the next process, as is everything when the
    process dies. `alone=False` says that other processes will come: the folder of a `local://` mesh is hosted by a
    child from the start, instead of by this process until the first of them arrives. `durability="full"` survives a
    power cut too, at the price of a disk sync per commit. `retention` bounds the file of a `local://` mesh (bytes, or a
    text such as "10GB"): the oldest calls and runs that ended are removed to keep it. Bodies above `blob_threshold`
    bytes lie in the store `blobs` (a URL that fsspec knows; without it, beside the mesh), those above `blob_limit` are
    refused.

    Raises `ConfigError` for settings that are wrong, `BrokerUnavailable` and `RegistryUnavailable`.
    """

    def __init__(
        self,
        broker: str | None = None,
        registry: str | Sequence[str] | None = None,
        model: str | None = None,
        embedder: "str | Embedder | Callable[[list[str]], Any] | None" = None,
        *,
        tenant: str | None = None,
        principal: str | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        registry_user: str | None = None,
        registry_password: str | None = None,
        registry_token: str | None = None,
        cards: Sequence[CardSource | Path] | None = None,
        cache: str | Path | None = None,
        config: str | Path | None = None,
        durability: str | None = None,
        retention: int | str | None = None,
        blobs: str | None = None,
        blob_threshold: int | str | None = None,
        blob_limit: int | str | None = None,
        drain: float = _DRAIN,
        alone: bool = True,
        clock: Clock | None = None,
    ) -> None:
        self.config: Config = load_config(
            config,
            broker=broker,
            registry=registry,
            model=model,
            embedder=embedder if isinstance(embedder, str) else None,
            tenant=tenant,
            principal=principal,
            base_url=base_url,
            api_key=api_key,
            access_key=access_key,
            secret_key=secret_key,
            registry_user=registry_user,
            registry_password=registry_password,
            registry_token=registry_token,
            cards=cards,
            cache=cache,
            durability=durability,
            retention=retention,
            blobs=blobs,
            blob_threshold=blob_threshold,
            blob_limit=blob_limit,
        )
        self._embedder = None if isinstance(embedder, str) else embedder
        self._alone = alone
        self._clock = clock or SystemClock()
        self._drain = drain
        self._instance = f"{os.getpid()}-{new_token()[:8]}"
        self._client: Client | None = None
        self._closing = contextlib.AsyncExitStack()
        self._planner: Planner | None = None
        self._model: OpenAIChat | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        embedder = choose_embedder(self.config, self._embedder)
        backends = await open_backends(self.config, self._clock, alone=self._alone)
        broker, registry, blobs, self._closing, desk = backends
        hub = Hub(broker, self._clock, f"mesh-{self._instance}")
        self._blobs = blobs
        self._client = Client(
            broker,
            registry,
            self._clock,
            hub,
            Bodies(blobs, self._clock, self.config.blob_threshold, self.config.blob_limit),
            self._get_planner,
            self._get_model,
            self.config.tenant or None,
            self.config.principal or "",
        )
        if self._embedder is None and (aclose := getattr(embedder, "aclose", None)):
            self._closing.push_async_callback(aclose)
        self._searching = Searching(self.config, self._client, embedder, self._closing)
        self._client.saw = self._searching.saw
        self._serving = Serving(self._client, self._instance, desk.serve if desk else None)
        self._tasks = [asyncio.create_task(hub.run()), asyncio.create_task(self._serving.keep_known())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open_client()
        self._client = None
        drain = self._drain if kind is None else 0
        try:
            await self._serving.stop(drain)
        finally:  # even when the draining is cancelled, the store is let go
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._closing.aclose()
            if self._model:
                await self._model.aclose()

    @property
    def broker(self) -> Broker:
        """The contract below: `Queue` and `Log`."""
        return self._open_client().broker

    @property
    def registry(self) -> Registry:
        """The contract below: who is there."""
        return self._open_client().registry

    @property
    def blobs(self) -> Blobs:
        """The contract below: where large bodies lie."""
        self._open_client()
        return self._blobs

    async def serve(self, *agents: "Agent | str | Path") -> None:
        """Register these agents and work on their tasks until the mesh is left.

        Each is an `Agent`, a folder with an `agent.yaml`, or a folder of such folders. An agent that is an async
        context manager is entered before, and left after its tasks. Returns once all are registered; where the
        registry is away they work nevertheless, and are registered when it is back. Raises
        `DeclarationError`, and `Conflict` if a topic and version is registered with another card; other topics
        are served nevertheless.
        """
        self._open_client()
        declarations = [each for agent in agents for each in _declarations(agent)]
        for declaration in declarations:
            if isinstance(declaration.agent, contextlib.AbstractAsyncContextManager):
                await self._closing.enter_async_context(declaration.agent)
            if any(PLANS in each.tags for each in declaration.skills.values()):
                await asyncio.to_thread(self._get_planner)  # its imports take a while
        await self._serving.add(declarations)

    async def start(
        self,
        topic: str,
        input: Any = None,  # noqa: A002
        *,
        skill: str = "",
        key: str = "",
        delay: float = 0,
        version: str = "",
        priority: int = DEFAULT_PRIORITY,
        tenant: str = "",
        deadline: float | datetime | None = None,
        session: str = "",
    ) -> Call:
        """Start a call and return its handle once it is stored; nothing is lost from then on.

        `input` is JSON data. `skill` may be left out where the agent has one. The same `key` (per tenant and topic)
        gives the same call. `delay` holds it back (seconds); `deadline` bounds the whole call (seconds from now, or an
        aware datetime; default 24 h). `priority` is 0 to 9, 9 first. Raises `TopicNotFound`, `SkillNotFound`,
        `Conflict` for a `key` that was used with another input, `Unauthorized` for another tenant than the mesh's,
        `QuotaExceeded` beyond a quota of the topic or tenant, `PayloadCorrupt` for an input that is not JSON data.
        """
        return await self._open_client().start(
            topic,
            input,
            skill=skill,
            key=key,
            delay=delay,
            version=version,
            priority=priority,
            tenant=tenant,
            deadline=deadline,
            session=session,
        )

    async def call(self, topic: str, input: Any = None, *, returns: Any = None, **options: Any) -> Any:  # noqa: A002
        """Start a call and wait for its result: JSON data, or the type `returns`. Options are those of `start`.

        Being cancelled cancels the call. Raises what `start` raises, `CallFailed` or the subclass that says how the
        call ended, and `InputRequired` if it asks something: answer it with `attach(call_id)` and `answer`.
        """
        return await self._open_client().call(topic, input, returns=returns, **options)

    async def attach(self, call_id: str) -> Call:
        """The call or run of this id, started by whatever process. Raises `CallNotFound`."""
        return await self._open_client().attach(call_id)

    def lite_topic(self, name: str) -> LiteTopic:
        """A log of one's own; `name` is any text. It is made by its first append."""
        return self._open_client().lite_topic(name)

    async def search(
        self, query: str, limit: int = 5, *, filters: "Filters | Mapping[str, Any] | None" = None
    ) -> "Sequence[Hit]":
        """The skills that are nearest to the query, best first; `Hit.fits` says which are near enough to be used.

        `filters` are `Filters`, or a mapping such as `{"tag": ["weather"], "can": ["streaming"]}`; the query may hold
        them too: `provider:acme draws maps and supports streaming`. Without any, agents that are alive are found, and
        of those that are not for everybody the ones for the mesh's tenant. Raises `ConfigError` for a filter that
        there is not.
        """
        return await self._searching.search(query, limit, filters)

    async def run(
        self,
        goal: str,
        *,
        supervisor: str = SUPERVISOR,
        session: str = "",
        key: str = "",
        deadline: float | datetime | None = None,
    ) -> Call:
        """Give a goal to a supervisor and return the run's handle once it is stored.

        Where no supervisor is alive, this process serves one. Leaving the mesh does not end a run: the next supervisor
        goes on with it.
        """
        client = self._open_client()
        if not await self._is_alive(supervisor):
            if supervisor != SUPERVISOR:
                raise TopicNotFound(supervisor, [each.topic for each in await client.registry.list()])
            from agentmesh.supervisor import Supervisor

            await self.serve(Supervisor())
        run = keyed_call(client.owner(""), supervisor, key, "run") if key else new_id("run")
        if session:
            from agentmesh.supervisor.session import begin

            await begin(client, client.owner(""), session, run, goal)
        return await client.start(
            supervisor, {"goal": goal}, skill="run", session=session, kind="run", call_id=run, deadline=deadline
        )

    async def _is_alive(self, topic: str) -> bool:
        try:
            return (await self.registry.get(topic)).alive
        except TopicNotFound:
            return False

    def _get_model(self) -> ChatModel | None:
        if self._model is None and self.config.model:
            from agentmesh.llm.openai import OpenAIChat

            self._model = OpenAIChat(self.config.model, base_url=self.config.base_url, api_key=self.config.api_key)
        return self._model

    def _get_planner(self) -> Planner:
        """With a model configured, the model plans; else a planner by rule."""
        if self._planner is None:
            model = self._get_model()
            if model:
                from agentmesh.supervisor.exposure import Exposure
                from agentmesh.supervisor.model import ModelPlanner

                exposure = Exposure(self._searching.over, is_strict=self.config.functions == "strict")
                self._planner = ModelPlanner(model, exposure=exposure)
            else:
                from agentmesh.supervisor.rule import RulePlanner

                self._planner = RulePlanner(self._searching.over, self._clock)
        return self._planner

    def _open_client(self) -> Client:
        if self._client is None:
            raise BrokerUnavailable("This mesh is not open: use it inside `async with Mesh(…) as mesh`.")
        return self._client


def _declarations(agent: "Agent | str | Path") -> "list[Declaration]":
    from agentmesh.runtime.declaration import declare, load

    if not isinstance(agent, str | Path):
        return [declare(agent)]
    path = Path(agent)
    if path.is_dir() and not (path / "agent.yaml").exists():
        folders = sorted(each.parent for each in path.glob("*/agent.yaml"))
        if folders:
            return [load(folder) for folder in folders]
    return [load(path)]
