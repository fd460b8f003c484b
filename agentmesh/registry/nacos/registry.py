"""The registry on Nacos: a `Registry` that many machines share.

Everything is read from a view that is kept equal to what Nacos says; while it is away the view stays as it was, and
writes raise. Who is alive is not for `renew` to say: it is whose connection lives.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from agentmesh.clock import Clock, sleep
from agentmesh.contracts import Change, Registration
from agentmesh.errors import ConfigError, RegistryUnavailable, TopicNotFound
from agentmesh.ids import new_token
from agentmesh.log import get_logger
from agentmesh.registry.changes import Known, changes
from agentmesh.registry.nacos import sdk
from agentmesh.registry.nacos.address import Address, read_address
from agentmesh.registry.nacos.auth import Auth
from agentmesh.registry.nacos.configs import Configs
from agentmesh.registry.nacos.documents import INDEX, Documents
from agentmesh.registry.nacos.heads import Edit, Head, pointed, routed
from agentmesh.registry.nacos.liveness import GROUP
from agentmesh.registry.nacos.mirror import Mirror
from agentmesh.registry.nacos.names import SHARDS
from agentmesh.registry.nacos.naming import Instance, Naming
from agentmesh.registry.nacos.ours import Ours
from agentmesh.registry.nacos.sdk import REPAIRED, Repairs
from agentmesh.registry.nacos.snapshot import load, save
from agentmesh.registry.nacos.view import View
from agentmesh.registry.versions import version_order

_CHECK: Final = 30.0
"""Seconds between two looks at whether the server still has what we published, and whether we missed a change."""

_RETURN: Final = 1.0
_SAVE: Final = 1_000
_LOOKS: Final = (0.0, 0.1, 0.1)
Found = TypeVar("Found")


class Versions(msgspec.Struct, frozen=True):
    """The versions of a topic, oldest first, with when they were first published (ms); who gets which."""

    topic: str
    latest: str
    labels: Mapping[str, str]
    published: Mapping[str, int]


async def open_nacos(
    url: str,
    clock: Clock,
    *,
    username: str = "",
    password: str = "",
    token: str = "",
    snapshot: Path | None = None,
    repairs: Repairs = REPAIRED,
) -> "NacosRegistry":
    """The registry at `nacos://HOST:PORT[,HOST:PORT…][?namespace=public][&tls=true][&ca=PATH]`, open.

    What it knows is kept in the file `snapshot`; with it, it opens while Nacos is away. Raises `ConfigError`,
    `Unauthorized` and `RegistryUnavailable`. `repairs` is for tests.
    """
    address = read_address(url)
    auth = Auth(address, username, password, token)
    try:
        await asyncio.to_thread(sdk.load)
    except ImportError as error:
        raise ConfigError(
            f"A registry on Nacos needs packages that are not installed ({error.name}): pip install 'agentmesh[nacos]'."
        ) from error
    registry = NacosRegistry(address, auth, clock, snapshot, repairs)
    try:
        await registry.open()
    except BaseException:
        await registry.close()
        raise
    return registry


class NacosRegistry:
    """See `open_nacos`."""

    def __init__(
        self, address: Address, auth: Auth, clock: Clock, snapshot: Path | None, repairs: Repairs = REPAIRED
    ) -> None:
        self.address = address
        self.node = f"{socket.gethostname()[:40]}-{os.getpid()}-{new_token()[:8]}"
        """This process, among those with agents on a topic."""
        self._auth = auth
        self._clock = clock
        self._snapshot = snapshot
        self._view = View()
        self._configs = Configs(address, auth.headers, self._document_changed, repairs)
        self._documents = Documents(self._configs)
        self._naming = Naming(address, auth.headers, GROUP, self._service_changed, self._reconnected, repairs)
        self._mirror = Mirror(self._view, self._documents, self._naming, self.node, clock, self._changed)
        self._ours = Ours(self.node, self._view, self._documents, self._naming, self._mirror, clock, self._spawn)
        self._watchers: list[tuple[dict[str, None], asyncio.Event]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsaved = False
        self._closed = False

    @property
    def online(self) -> bool:
        """Whether Nacos is there, as far as is known; if not, everything is answered from what was known last."""
        return self._configs.link.running and self._naming.link.running

    async def open(self) -> None:
        try:
            await self._connect()
        except RegistryUnavailable as error:
            if self._snapshot is None:
                raise
            try:
                topics = await asyncio.to_thread(load, self._snapshot, str(self.address))
            except RegistryUnavailable as why:
                raise RegistryUnavailable(f"{error} {why}") from error
            for topic in topics:
                self._view.topics[topic.head.topic] = topic
            self._spawn(self._come_back())
        self._spawn(self._look_after())

    async def close(self) -> None:
        """Take everything that this process registered offline, and end."""
        self._closed = True
        for _, wake in self._watchers:
            wake.set()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._mirror.close()
        await asyncio.gather(self._configs.close(), self._naming.close())
        if self._unsaved:
            await self._save()

    async def register(self, registration: Registration) -> None:
        """As in the contract. Raises `ConfigError` if Nacos cannot take what it is told of the agent too."""
        await self._ours.add(registration)

    async def renew(self, instance: str) -> None:
        """Nothing is to be renewed: the connection says who is alive. Raises `Conflict` if an agent of this instance
        was taken offline because somebody else published its version with another card.
        """
        conflict = self._ours.conflict(instance)
        if conflict:
            raise conflict

    async def remove(self, topic: str, instance: str = "") -> None:
        """As in the contract; only instances of this process can be taken offline."""
        await self._head(topic)
        await (self._ours.withdraw(topic, instance) if instance else self._ours.remove(topic))

    async def get(self, topic: str, version: str = "") -> Registration:
        """As in the contract; of several that are alive, the one that is `latest` comes before a newer one."""
        return await self._found(topic, lambda: self._view.get(topic, version, self._clock.now()))

    async def list(self, *, alive: bool = True) -> Sequence[Registration]:
        return [each for each in self._view.all(self._clock.now()) if each.alive or not alive]

    async def route(self, topic: str, weights: Mapping[str, int] | None = None) -> Mapping[str, int]:
        """As in the contract. A share may be given to a label: it goes to the version that the label is on."""
        head = await self._head(topic)
        if weights is not None:
            given = dict(weights)
            head = await self._edit(topic, lambda head: routed(head, given))
        return head.shares()

    async def versions(self, topic: str) -> Versions:
        """What was published on a topic. Raises `TopicNotFound`."""
        head = await self._head(topic)
        published = sorted(head.versions.items(), key=lambda item: version_order(item[0]))
        return Versions(topic, head.latest, head.labels, {version: each.at for version, each in published})

    async def point(self, topic: str, *, latest: str = "", labels: Mapping[str, str] | None = None) -> Versions:
        """Roll back or forward to a published version, and move labels (a version of "" takes one away).

        Who asks for no version gets `latest` if it is alive. It moves on by itself when a version above it is published
        for the first time. Raises `TopicNotFound`, for a version too, and `RegistryUnavailable`.
        """
        moved = dict(labels or {})
        await self._head(topic)
        await self._edit(topic, lambda head: pointed(head, latest, moved))
        return await self.versions(topic)

    async def labelled(self, topic: str, label: str) -> Registration:
        """The registration of the version that a label is on. Raises `TopicNotFound`."""
        version = (await self.versions(topic)).labels.get(label)
        if not version:
            raise TopicNotFound(f"{topic} {label}", (f"{topic} {each}" for each in self._view.head(topic).labels))
        return await self.get(topic, version)

    async def watch(self) -> AsyncGenerator[Change, None]:
        changed: dict[str, None] = {}
        wake = asyncio.Event()
        known: Known = {}
        self._watchers.append((changed, wake))
        try:
            for change in changes(known, "", await self.list(alive=False)):
                yield change
            while not self._closed:
                await wake.wait()
                wake.clear()
                while changed:
                    topic = next(iter(changed))
                    del changed[topic]
                    for change in changes(known, topic, self._view.registrations(topic, self._clock.now())):
                        yield change
        finally:
            self._watchers.remove((changed, wake))

    async def _head(self, topic: str) -> Head:
        """Raises `TopicNotFound`."""
        return await self._found(topic, lambda: self._view.head(topic))

    async def _found(self, topic: str, find: Callable[[], Found]) -> Found:
        """What others published this very moment is looked for; the real server may not tell it for 0.1 s yet."""
        for pause in _LOOKS:
            try:
                return find()
            except TopicNotFound:
                await asyncio.sleep(pause)
                await self._mirror.look(topic)
        return find()

    async def _edit(self, topic: str, change: Edit) -> Head:
        head = await self._documents.edit(topic, change, self._view.known(topic))
        self._mirror.put(topic, head, {})
        return head

    async def _connect(self) -> None:
        await self._configs.link.open()
        try:
            await self._naming.link.open()
            await self._configs.listen(INDEX, SHARDS)
            await self._mirror.refresh()
        except BaseException:
            await asyncio.gather(self._configs.link.close(), self._naming.link.close())
            raise

    async def _come_back(self) -> None:
        """Opened from a snapshot: connect as soon as somebody is there."""
        while True:
            await asyncio.sleep(_RETURN)
            self._mirror.begin_grace()
            with contextlib.suppress(RegistryUnavailable):
                await self._connect()
                return

    async def _look_after(self) -> None:
        while True:
            await sleep(self._clock, _CHECK)
            if self.online:
                await self._ours.check()

    def _document_changed(self, group: str, name: str) -> None:
        if group:
            self._mirror.document_changed(group, name)
        else:
            self._documents.forget_probe()
            self._spawn(self._ours.check())

    def _service_changed(self, service: str, instances: tuple[Instance, ...]) -> None:
        self._mirror.service_changed(service, instances)

    def _reconnected(self) -> None:
        self._mirror.begin_grace()

    def _changed(self, topic: str) -> None:
        for changed, wake in self._watchers:
            changed[topic] = None
            wake.set()
        self._ours.look(topic)
        if self._snapshot and not self._unsaved:
            self._unsaved = True
            self._clock.call_at(self._clock.now() + _SAVE, lambda: self._spawn(self._save()))

    async def _save(self) -> None:
        self._unsaved = False
        assert self._snapshot
        topics = [msgspec.structs.replace(each) for each in self._view.topics.values() if each.head.rev]
        try:
            await asyncio.to_thread(save, self._snapshot, str(self.address), topics)
        except RegistryUnavailable as error:
            get_logger().warning(str(error))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._closed:
            work.close()
            return
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
