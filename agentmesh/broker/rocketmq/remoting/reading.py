"""Reading queues at an offset, which takes nothing away from anybody."""

import asyncio
from typing import Final, NamedTuple

from agentmesh.broker.rocketmq.address import Address
from agentmesh.broker.rocketmq.remoting.brokers import Broker, Brokers
from agentmesh.broker.rocketmq.remoting.faults import NO_TOPIC
from agentmesh.broker.rocketmq.remoting.frame import Answer
from agentmesh.broker.rocketmq.remoting.link import TIMEOUT
from agentmesh.broker.rocketmq.remoting.record import Record, lite_queue, read_records

READER: Final = "CID_RMQ_SYS_agentmesh"
"""The group that a pull names. Groups of this prefix need not be created; nothing is stored for it."""

_PULL: Final = 11
_QUERY: Final = 12
_MAX_OFFSET: Final = 30
_MIN_OFFSET: Final = 31
_OFFSET_AT: Final = 29
_FOUND: Final = 0
_NOTHING: Final = (19, 20, 21)
_NOT_FOUND: Final = 22
_SUBSCRIPTION: Final = 4
_HOLD: Final = 2
_ALWAYS: Final = 1 << 62


class Pulled(NamedTuple):
    """`next` is where to go on; `min` and `max` are the queue's first offset and the one after its last."""

    records: list[Record]
    next: int
    min: int
    max: int


class Reading:
    """What can be asked of a broker, a proxy or a name server alike. With several brokers a LiteTopic is looked for at
    each, and its place remembered."""

    def __init__(self, address: Address, reader: str = READER) -> None:
        self.endpoint = address.remoting_endpoint
        self._brokers = Brokers(address)
        self._reader = reader
        self._places: dict[tuple[str, int], Broker] = {}

    async def pull(
        self, topic: str, offset: int, limit: int = 32, queue: int = 0, wait: float = 0.0, tag: str = "*"
    ) -> Pulled:
        """Up to `limit` records (the broker gives 32 or 256 KiB at once) of a queue from `offset` on. `topic` is a
        topic or a `lite_queue`; one that was never written to is empty. `tag` chooses among the messages. With `wait`
        the broker holds the request that many seconds if there is nothing yet, and answers some seconds late when there
        is.

        Raises `BrokerUnavailable`, `ConfigError` (no such topic), `Unauthorized`.
        """
        fields = {
            "consumerGroup": self._reader,
            "queueOffset": offset,
            "maxMsgNums": limit,
            "sysFlag": _SUBSCRIPTION | (_HOLD if wait else 0),
            "commitOffset": 0,
            "suspendTimeoutMillis": round(wait * 1000),
            "subscription": tag,
            "subVersion": 0,
            "expressionType": "TAG",
        }
        broker = await self._place(topic, queue)
        well = (_FOUND, *_NOTHING)
        answer = await self._ask(broker, "Reading", _PULL, topic, fields, queue, well=well, timeout=TIMEOUT + wait)
        records = read_records(answer.body, topic) if answer.code == _FOUND else []
        told = answer.fields
        return Pulled(
            records,
            int(told.get("nextBeginOffset", offset)),
            int(told.get("minOffset", 0)),
            int(told.get("maxOffset", 0)),
        )

    async def check_lite(self, parent: str) -> None:
        """Raises `ConfigError` if LiteTopics are switched off: a broker without them takes messages to them and loses
        them."""
        await self.pull(lite_queue(parent, "check"), 0, 1)

    async def max_offset(self, topic: str, queue: int = 0) -> int:
        """The offset that the next message will get."""
        broker = await self._place(topic, queue)
        answer = await self._ask(broker, "Reading", _MAX_OFFSET, topic, {"committed": True}, queue)
        return int(answer.fields["offset"])

    async def min_offset(self, topic: str, queue: int = 0) -> int:
        """The offset of the first message that is still there."""
        broker = await self._place(topic, queue)
        answer = await self._ask(broker, "Reading", _MIN_OFFSET, topic, {}, queue)
        return int(answer.fields["offset"])

    async def offset_at(self, topic: str, ms: int, queue: int = 0) -> int:
        """The offset of the first message stored at `ms` (UTC) or later."""
        broker = await self._place(topic, queue)
        answer = await self._ask(broker, "Reading", _OFFSET_AT, topic, {"timestamp": ms}, queue)
        return int(answer.fields["offset"])

    async def by_key(self, topic: str, key: str, limit: int = 32) -> list[Record]:
        """Messages of a topic that carry this key, those of its LiteTopics too, oldest first. The index is some moments
        behind."""
        fields = {"key": key, "maxNum": limit, "beginTimestamp": 0, "endTimestamp": _ALWAYS}
        records: list[Record] = []
        for broker in await self._brokers.all(topic):
            answer = await self._ask(broker, "Searching", _QUERY, topic, fields, well=(0, _NOT_FOUND, NO_TOPIC))
            records += read_records(answer.body) if answer.code == 0 else []
        return sorted(records, key=lambda each: each.stored)[:limit]

    async def close(self) -> None:
        """Break off what is on its way, and end."""
        await self._brokers.close()

    async def _ask(
        self,
        broker: Broker,
        what: str,
        code: int,
        topic: str,
        fields: dict[str, object],
        queue: int | None = None,
        *,
        well: tuple[int, ...] = (0,),
        timeout: float = TIMEOUT,
    ) -> Answer:
        where = {} if queue is None else {"queueId": queue}
        all_fields = {"topic": topic, **where, **fields, **broker.fields}
        return await broker.link.ask(what, code, all_fields, name=topic, well=well, timeout=timeout)

    async def _place(self, topic: str, queue: int) -> Broker:
        """The broker that has the queue: the one that has something in it."""
        known = self._places.get((topic, queue))
        if known:
            return known
        brokers = await self._brokers.all(_parent(topic))
        if len(brokers) == 1:
            return brokers[0]
        answers = await asyncio.gather(
            *(self._ask(each, "Reading", _MAX_OFFSET, topic, {"committed": True}, queue) for each in brokers)
        )
        offsets = [int(each.fields["offset"]) for each in answers]
        best = offsets.index(max(offsets))
        if offsets[best] > 0:
            self._places[topic, queue] = brokers[best]
        return brokers[best]


def _parent(topic: str) -> str:
    """The topic that a proxy knows: of a LiteTopic's queue its parent."""
    return topic.split("$")[1] if topic.startswith("%LMQ%$") else topic
