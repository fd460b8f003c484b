"""Health of a cluster, for `agentmesh doctor`: what is wrong with its servers, and the line that mends it.

Whatever can be asked is asked, whether the mesh can be opened or not; nothing is changed.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from agentmesh.broker.embedded.health import span
from agentmesh.broker.rocketmq import flags, needs
from agentmesh.broker.rocketmq.address import Address
from agentmesh.broker.rocketmq.client import Connection, Producer, wire
from agentmesh.broker.rocketmq.commons import Commons, Lane
from agentmesh.broker.rocketmq.flags import Problem
from agentmesh.broker.rocketmq.inspection import Clients, Inspection, Table
from agentmesh.broker.rocketmq.logs import Logs
from agentmesh.broker.rocketmq.names import Names
from agentmesh.broker.rocketmq.needs import Administrator, Group, Topic
from agentmesh.broker.rocketmq.remoting import Remoting
from agentmesh.clock import Clock
from agentmesh.contracts import Health, TopicStats
from agentmesh.errors import ConfigError, MeshError
from agentmesh.log import get_logger

SKEW: Final = 2_000
"""How far (ms) our clock and a broker's may be apart."""

LONG: Final = 600_000
"""How long (ms) a task may wait before that is a problem."""

_HALF: Final = 500
"""What a broker says of its time is whole seconds ago."""

_SHOWN: Final = 5
_FULL: Final = 0.9
_SYNC_TIMEOUT: Final = 10.0

Stats = Callable[[], Awaitable[Sequence[TopicStats]]]


class Finding(NamedTuple):
    """What was found of an area; `problem` if something is wrong."""

    area: str
    text: str = ""
    problem: Problem | None = None


class Survey:
    """What was found so far."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.facts: dict[str, str | int | float] = {}
        self.lines: list[str] = []
        self.abandoned: list[str] = []

    def tell(self, area: str, text: str) -> None:
        """What is as it should be."""
        self.findings.append(Finding(area, text))

    def blame(self, area: str, problems: Iterable[Problem]) -> bool:
        """What is not; whether there was anything."""
        found = [Finding(area, problem=each) for each in problems]
        self.findings += found
        return bool(found)

    def refuse(self, area: str, error: MeshError, fix: str = "") -> None:
        """What could not be looked at; the error says what to do, unless there is a `fix`."""
        self.blame(area, [Problem(str(error), fix, grave=True)])

    def health(self) -> Health:
        """All of it, as the contract wants it."""
        problems = [each.problem for each in self.findings if each.problem]
        return Health([" ".join(filter(None, (each.text, each.fix))) for each in problems], self.facts)


async def examine(address: Address, clock: Clock, stats: Stats) -> Survey:
    """Look at everything at `address`. `stats` tells what waits; it is asked only if the mesh can be read."""
    found = Survey()
    remoting = Inspection(address)
    try:
        async with Connection(address, clock) as connection:
            await _Examination(found, address, clock, connection, remoting).run(stats)
            await connection.close(hurry=True)
    finally:
        await remoting.close()
    return found


class _Examination:
    """Looks at one thing after the other; what depends on what cannot be asked is left out."""

    def __init__(
        self, found: Survey, address: Address, clock: Clock, connection: Connection, remoting: Inspection
    ) -> None:
        self._found = found
        self._address = address
        self._clock = clock
        self._connection = connection
        self._remoting = remoting
        self._names = Names(address.namespace)
        self._producer = Producer(connection)
        self._admin = Administrator()
        self._user = address.credentials.access_key if address.credentials else ""

    async def run(self, stats: Stats) -> None:
        proxied = await self._proxy()
        tables = await self._tables() if await self._broker() else None
        if tables is None:
            if proxied:
                self._found.lines = needs.lines(self._names, self._admin, self._user)
            return
        topics, groups = tables
        opened = self._mesh_topics(topics)
        if proxied:
            opened = await self._lite(groups) and opened
        lanes = await self._lanes() if opened else []
        self._made(lanes, topics, groups)
        await self._inboxes(groups)
        if opened:
            await self._contents(stats)

    async def _proxy(self) -> bool:
        """Whether a proxy answers at the endpoint."""
        try:
            await self._producer.start()
        except MeshError as error:
            self._found.refuse("proxy", error)
            return False
        self._found.tell("proxy", f"answers at {self._address.endpoint}")
        return True

    async def _broker(self) -> bool:
        """Whether a broker answers who may be asked about everything."""
        endpoint = self._address.remoting_endpoint
        try:
            if await self._remoting.kind() == "proxy":
                text = f"{endpoint} is a proxy's remoting port: it can be read through, but makes no topics and groups."
                fix = "Give the port of a broker or of a name server: ?remoting=HOST:10911 or ?remoting=HOST:9876."
                self._found.blame("broker", [Problem(text, fix, grave=True)])
                return False
            version, told = await self._remoting.broker_version(), await self._remoting.broker_config()
            facts, now = await self._remoting.facts(), await self._remoting.broker_time()
        except MeshError as error:
            self._found.refuse("broker", error)
            return False
        server = told.get("namesrvAddr", "").partition(";")[0]
        self._admin = Administrator(server or self._admin.name_server, told.get("brokerClusterName", "CLUSTER"))
        self._found.facts |= {"version": version, "broker": told.get("brokerName", ""), "cluster": self._admin.cluster}
        problem = flags.version_problem(version)
        if not (problem and self._found.blame("broker", [problem])):
            self._found.tell("broker", f"RocketMQ {version}, {told.get('brokerName')} of {self._admin.cluster}")
        if not self._found.blame("flags", flags.problems(told)):
            self._found.tell("flags", f"LiteTopics on, {told.get('storeType')}, kept {told.get('fileReservedTime')} h")
        self._time(now)
        self._disk(facts)
        return True

    def _time(self, broker: int) -> None:
        skew = skew_of(self._clock, broker)
        self._found.facts["clock skew ms"] = skew
        problem = skew_problem(skew)
        if problem:
            self._found.blame("clock", [problem])
        else:
            self._found.tell("clock", "ours and the broker's agree, as far as can be told")

    def _disk(self, facts: Mapping[str, str]) -> None:
        try:
            ratio = float(facts.get("commitLogDiskRatio", ""))
        except ValueError:
            return
        self._found.facts["disk used"] = ratio
        if ratio > _FULL:
            text = f"The broker's disk is {ratio:.0%} full: above diskMaxUsedSpaceRatio it deletes what is to be kept."
            self._found.blame("disk", [Problem(text, "Free some room, or give it a larger disk.", grave=True)])

    async def _tables(self) -> tuple[Table, Table] | None:
        """All topics and all groups, if they may be seen."""
        try:
            return await self._remoting.topic_table(), await self._remoting.group_table()
        except MeshError as error:
            self._found.refuse("topics", error)
            return None

    def _mesh_topics(self, there: Table) -> bool:
        """Whether the mesh was ever opened."""
        wanted = needs.topics(self._names)
        if not any(each.name in there for each in wanted):
            name = f"namespace {self._address.namespace!r}" if self._address.namespace else "no namespace"
            self._found.tell("topics", f"the mesh ({name}) is not there yet; the first use makes it")
            return False
        if not self._found.blame("topics", self._wrong_topics(wanted, there)):
            self._found.tell("topics", f"all {len(wanted)} of the mesh, of their types, with their TTLs")
        return True

    def _wrong_topics(self, wanted: Iterable[Topic], there: Table) -> Iterator[Problem]:
        for each in wanted:
            attributes = there.get(each.name)
            if attributes is None:
                yield Problem(f"There is no topic {each.name}.", self._admin.create_topic(each), grave=True)
                continue
            wrong = needs.wrong_topic(each, {str(name): str(value) for name, value in attributes.items()})
            if "type" in wrong:
                fix = f"{self._admin.delete_topic(each.name)} && {self._admin.create_topic(each)}"
                yield Problem(f"Topic {each.name} {wrong}: what is in it is of no use.", fix, grave=True)
            elif wrong:
                yield Problem(f"Topic {each.name} {wrong}.", self._admin.create_topic(each))

    async def _lite(self, groups: Table) -> bool:
        """Whether LiteTopics can be followed through the proxy, asked for by whatever group is bound to some."""
        bound = {name: (config.get("attributes") or {}).get("lite.bind.topic", "") for name, config in groups.items()}
        own = self._names.parent_of("check")
        group = own if bound.get(own) else next((name for name, parent in bound.items() if parent), "")
        if not group:
            self._found.tell("lite", "whether the proxy has LiteTopics the first use of the mesh tells")
            return True
        try:
            await check_proxy(self._connection, group, bound[group])
            await self._remoting.check_lite(bound[group])
        except MeshError as error:
            self._found.refuse("lite", error)
            return False
        self._found.tell("lite", "LiteTopics can be written, read and followed")
        return True

    async def _lanes(self) -> list[Lane]:
        """The queues of the agents' tasks."""
        commons = Commons(Logs(self._producer, self._remoting, self._names), self._clock)
        try:
            await commons.refresh(now=True)
        except MeshError as error:
            self._found.refuse("queues", error)
            return []
        return [lane for topic in commons.topics for lane in (Lane(topic), *commons.lanes.get(topic, ()))]

    def _made(self, lanes: Sequence[Lane], topics: Table, groups: Table) -> None:
        """What publishes made: a topic and a group for each queue."""
        wanted = [
            Topic(name, "PRIORITY" if lane.priority else "NORMAL", 10 if lane.priority else 1)
            for lane in lanes
            for name in [self._names.lane(lane.topic, lane.version, lane.tenant, priority=lane.priority)]
        ]
        expected = [Group(each.name) for each in wanted]
        if self._names.delay in topics:
            expected.append(Group(self._names.delay))
        bad_topics = self._found.blame("topics", self._wrong_topics(wanted, topics))
        bad_groups = self._found.blame("groups", self._wrong_groups(expected, groups))
        self._found.facts |= {"queues of tasks": len(wanted)}
        if lanes and not (bad_topics or bad_groups):
            self._found.tell("queues", f"{len({lane.topic for lane in lanes})} topics, {len(lanes)} queues of tasks")

    def _wrong_groups(self, wanted: Iterable[Group], there: Table) -> Iterator[Problem]:
        for each in wanted:
            config = there.get(each.name)
            wrong = "is not there" if config is None else needs.wrong_group(each, config)
            if wrong:
                yield Problem(f"Group {each.name} {wrong}.", self._admin.create_group(each), grave=True)

    async def _inboxes(self, groups: Table) -> None:
        """Groups of clients that were killed stay: nobody else has a use for them."""
        inboxes = sorted(name for name in groups if name.startswith(self._names.parent_of("inbox-")))
        self._found.facts["inboxes"] = len(inboxes)
        if not inboxes:
            return
        clients = Clients(self._address)
        try:
            if not await clients.find():
                self._found.tell("inboxes", f"{len(inboxes)}; only a proxy's remoting port tells who is behind them")
                return
            self._found.abandoned = sorted(await clients.alone(inboxes))
        except MeshError as error:
            self._found.tell("inboxes", f"{len(inboxes)}; who is behind them was not told: {error}")
            return
        finally:
            await clients.close()
        self._found.facts["abandoned inboxes"] = len(self._found.abandoned)
        if not self._found.abandoned:
            self._found.tell("inboxes", f"{len(inboxes)}, all in use")
            return
        text = f"{len(self._found.abandoned)} of {len(inboxes)} inbox groups are left over: their processes are gone."
        first = self._admin.delete_group(self._found.abandoned[0])
        more = ", and so on" if len(self._found.abandoned) > 1 else ""
        self._found.blame("inboxes", [Problem(text, f"agentmesh doctor --mend deletes them, as does: {first}{more}")])

    async def _contents(self, stats: Stats) -> None:
        """What waits, and for how long."""
        try:
            told = await stats()
        except MeshError as error:
            self._found.refuse("contents", error)
            return
        now = self._clock.now()
        waiting, running = sum(each.waiting for each in told), sum(each.running for each in told)
        dead = sum(each.dead for each in told)
        self._found.facts |= {"topics": len(told), "waiting": waiting, "running": running, "dead letters": dead}
        lines = [f"{len(told)} topics; {waiting} tasks waiting, {running} running, {dead} dead"]
        old = sorted((each.oldest, each.topic) for each in told if each.oldest is not None)
        for since, topic in old[:_SHOWN]:
            lines.append(f"oldest of {topic}: {span(now - since)}")
            self._found.facts[f"oldest of {topic}"] = span(now - since)
        self._found.tell("contents", "\n".join(lines))
        self._found.blame("contents", _overdue(told, now))


def _overdue(told: Iterable[TopicStats], now: int) -> Iterator[Problem]:
    for each in told:
        if each.oldest is not None and now - each.oldest > LONG:
            text = f"{each.topic}: {each.waiting} tasks wait, the oldest for {span(now - each.oldest)}."
            yield Problem(text, "agentmesh up, in the folder of its agent, serves them.")
        if each.dead:
            text = f"{each.topic} has {each.dead} dead letters."
            yield Problem(text, f"agentmesh dlq list {each.topic} tells why.")


def skew_of(clock: Clock, broker: int) -> int:
    """How far (ms) our clock is ahead of a broker's that told its time."""
    return clock.now() - broker - _HALF


def skew_problem(ms: int) -> Problem | None:
    """What is wrong if our clock is so far ahead of a broker's."""
    if abs(ms) <= SKEW:
        return None
    which = "ahead of" if ms > 0 else "behind"
    text = f"Our clock is {abs(ms) / 1000:,.0f} s {which} the broker's: deadlines, delays and ages are wrong by that."
    return Problem(text, "Have both set by NTP: timedatectl set-ntp true (chronyc makestep).", grave=True)


async def check(names: Names, remoting: Remoting, connection: Connection) -> None:
    """See whether LiteTopics can be followed through the proxy, and say it if clocks differ.

    Raises `ConfigError` if it is in LOCAL mode, `BrokerUnavailable` and `Unauthorized`.
    """
    group = needs.check_group(names)
    await check_proxy(connection, group.name, group.parent)
    with contextlib.suppress(MeshError):  # who may not ask for the time need not
        problem = skew_problem(skew_of(connection.clock, await remoting.broker_time()))
        if problem:
            get_logger().warning("the clocks differ", problem=problem.text, fix=problem.fix)


async def check_proxy(connection: Connection, group: str, parent: str) -> None:
    """See whether a proxy can have LiteTopics followed; `group` is bound to `parent`. Nothing is changed.

    Raises `ConfigError` if it runs in LOCAL mode, `BrokerUnavailable` and `Unauthorized`. That it does not know the
    group yet is no reason.
    """
    request = wire.sync("PARTIAL_REMOVE", parent, group, ["check"], connection.clock.now())
    doing = connection.doing("Looking for LiteTopics", parent, group)
    try:
        await connection.call(f"check-{group}", wire.SYNC, request, doing, _SYNC_TIMEOUT)
    except ConfigError as error:
        if "LOCAL mode" in str(error):
            raise


async def delete_abandoned(address: Address, groups: Iterable[str]) -> list[str]:
    """Delete those of these inbox groups in which still nobody is; their names. Raises `MeshError`."""
    clients, remoting = Clients(address), Inspection(address)
    try:
        if not await clients.find():
            return []
        alone = sorted(await clients.alone(groups))
        for each in alone:
            await remoting.delete_group(each)
        return alone
    finally:
        await clients.close()
        await remoting.close()
