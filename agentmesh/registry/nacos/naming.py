"""The services of a Nacos: who has an instance there, as long as its connection lives."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from agentmesh.errors import MeshError
from agentmesh.registry.nacos.address import Address
from agentmesh.registry.nacos.sdk import REPAIRED, Headers, Link, Repairs

_AT_ONCE: Final = 16
_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 5.0


class Instance(msgspec.Struct, frozen=True):
    """An instance of a service. The same `host` and `port` (1 to 65535) are the same instance."""

    host: str
    port: int
    metadata: Mapping[str, str] = {}


class Naming:
    """The services of one group. `changed` is called with a service and its healthy instances whenever they change,
    `reconnected` before that when the connection was made anew."""

    def __init__(
        self,
        address: Address,
        headers: Headers,
        group: str,
        changed: Callable[[str, tuple[Instance, ...]], object],
        reconnected: Callable[[], object],
        repairs: Repairs = REPAIRED,
    ) -> None:
        pushed = {"NotifySubscriberRequest": lambda request: self._pushed(request.serviceInfo)}
        self.link = Link(address, headers, "naming", self._connected, pushed, repairs)
        self._namespace = address.namespace
        self._group = group
        self._changed = changed
        self._reconnected = reconnected
        self._ours: dict[str, Instance] = {}
        self._subscribed: dict[str, int] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._restoring: asyncio.Task[None] | None = None

    async def announce(self, service: str, instance: Instance) -> None:
        """Have this instance in the service, instead of another one of ours, until `withdraw` or the end."""
        before = self._ours.get(service)
        self._ours[service] = instance
        try:
            await self._register(service, instance)
        except BaseException:
            self._forget(service, before)
            raise

    async def withdraw(self, service: str) -> None:
        """Take our instance out of the service. It does not come back even if this fails."""
        instance = self._ours.pop(service, None)
        if instance:
            await self._ask(self._instance_request(service, instance, "deregisterInstance"))

    async def subscribe(self, service: str) -> None:
        """Have `changed` called with what is there now and with what changes."""
        self._subscribed.setdefault(service, 0)
        await self._subscribe(service)

    async def close(self) -> None:
        if self._restoring:
            self._restoring.cancel()
            await asyncio.gather(self._restoring, return_exceptions=True)
        await self.link.close()

    async def _register(self, service: str, instance: Instance) -> None:
        await self._ask(self._instance_request(service, instance, "registerInstance"))

    async def _subscribe(self, service: str) -> None:
        from v2.nacos.naming.model.naming_request import SubscribeServiceRequest  # type: ignore[import-untyped]

        request = SubscribeServiceRequest(
            namespace=self._namespace, groupName=self._group, serviceName=service, clusters="", subscribe=True
        )
        answer = await self._ask(request)
        self._pushed(answer.serviceInfo, service)

    def _instance_request(self, service: str, instance: Instance, kind: str) -> Any:
        from v2.nacos.naming.model.instance import Instance as Told  # type: ignore[import-untyped]
        from v2.nacos.naming.model.naming_request import InstanceRequest

        told = Told(ip=instance.host, port=instance.port, metadata=dict(instance.metadata), ephemeral=True)
        return InstanceRequest(
            namespace=self._namespace, serviceName=service, groupName=self._group, instance=told, type=kind
        )

    async def _ask(self, request: Any) -> Any:
        async with self._slots:
            return await self.link.request(request)

    def _pushed(self, told: Any, service: str = "") -> None:
        """Of two answers the newer one counts; those of the same millisecond, in the order in which they came."""
        service = service or (told.name.rpartition("@@")[2] if told else "")
        if told is None or service not in self._subscribed or told.lastRefTime < self._subscribed[service]:
            return
        self._subscribed[service] = told.lastRefTime
        healthy = (host for host in told.hosts if host.healthy and host.enabled)
        self._changed(service, tuple(Instance(host.ip, host.port, host.metadata) for host in healthy))

    def _forget(self, service: str, before: Instance | None) -> None:
        if before:
            self._ours[service] = before
        else:
            self._ours.pop(service, None)

    def _connected(self) -> None:
        """The server has forgotten our instances, and what we subscribed to."""
        self._subscribed = dict.fromkeys(self._subscribed, 0)
        if self._restoring:
            self._restoring.cancel()
        if self._ours or self._subscribed:
            self._reconnected()
            self._restoring = asyncio.create_task(self._restore())

    async def _restore(self) -> None:
        """Instances first: others look for them."""
        await self._until_done(set(self._ours), self._register_again)
        await self._until_done(set(self._subscribed), self._subscribe)

    async def _register_again(self, service: str) -> None:
        instance = self._ours.get(service)
        if instance:
            await self._register(service, instance)

    async def _until_done(self, services: Iterable[str], act: Callable[[str], Any]) -> None:
        left, pause = list(services), _PAUSE
        while left:
            results = await asyncio.gather(*(act(service) for service in left), return_exceptions=True)
            left = [service for service, result in zip(left, results, strict=True) if isinstance(result, MeshError)]
            if left:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
