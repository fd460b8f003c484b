"""Requests and replies of the v2 gRPC protocol as bytes: the only module that touches protobuf, which is untyped.

Everything else sends the bytes that these functions make and gets the structs that they read.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

from agentmesh.broker.rocketmq.address import split_endpoint
from agentmesh.broker.rocketmq.client.message import Outgoing, Received
from agentmesh.broker.rocketmq.client.stubs import definition as _d
from agentmesh.broker.rocketmq.client.stubs import service as _s

Kind = Literal["PRODUCER", "SIMPLE_CONSUMER", "LITE_PUSH_CONSUMER"]
Action = Literal["PARTIAL_ADD", "PARTIAL_REMOVE", "COMPLETE_ADD"]
Start = int | Literal["min", "max"] | None
"""Where a group begins to read a LiteTopic: at an offset, at the first or after the last message, or where it was."""

VERSION: Final = "5.1.2"
"""The client version that we say we are: that of the stubs."""

_INTERNAL: Final = frozenset(("INNER_MULTI_DISPATCH", "INNER_MULTI_QUEUE_OFFSET"))
"""Properties of the broker's that it hands out with the sender's."""

_T = TypeVar("_T")


class Status(NamedTuple):
    """RocketMQ's verdict: 20000 is well, everything else is in `definition.proto`, `enum Code`."""

    code: int
    message: str

    @property
    def name(self) -> str:
        """The code's name, such as `TOPIC_NOT_FOUND`."""
        value = _d.Code.DESCRIPTOR.values_by_number.get(self.code)
        return str(value.name) if value else "UNKNOWN"


class Reply(NamedTuple, Generic[_T]):
    status: Status
    value: _T


class Method(NamedTuple, Generic[_T]):
    """A remote procedure and how its reply is read."""

    name: str
    read: Callable[[bytes], Reply[_T]]


class Queue(NamedTuple):
    """A queue of a topic; `raw` is its protobuf form."""

    broker: str
    id: int
    readable: bool
    writable: bool
    types: frozenset[str]
    raw: bytes


class Command(NamedTuple):
    """What the server says on a telemetry stream: `settings`, `notify_unsubscribe_lite_command` (of `lite_topic`),
    `reconnect_endpoints_command`, or something that we leave alone."""

    kind: str
    status: Status
    lite_topic: str


def new_message_id() -> str:
    """34 characters, as RocketMQ's own clients make them: version 01 and 16 random bytes."""
    return f"01{uuid.uuid4().hex.upper()}"


# Who we are


def settings(kind: Kind, endpoint: str, group: str, topics: Iterable[str], expressions: Mapping[str, str]) -> bytes:
    """The first word on a telemetry stream. `topics` are those that a producer names, `expressions` what a consumer
    reads of each topic."""
    told = _d.Settings(client_type=_d.ClientType.Value(kind), access_point=_endpoints(endpoint))
    told.user_agent.CopyFrom(_d.UA(language=_d.Language.PYTHON, version=VERSION))
    told.request_timeout.seconds = 3
    if kind == "PRODUCER":
        told.publishing.topics.extend(_resource(each) for each in topics)
        told.publishing.max_body_size = 1 << 27
    else:
        told.subscription.group.name = group
        for topic, expression in expressions.items():
            told.subscription.subscriptions.add(topic=_resource(topic), expression=_filter(expression))
    return _bytes(_s.TelemetryCommand(settings=told))


def read_command(raw: bytes) -> Command:
    command = _s.TelemetryCommand.FromString(raw)
    lite_topic = command.notify_unsubscribe_lite_command.lite_topic
    return Command(str(command.WhichOneof("command") or ""), _status(command), str(lite_topic))


def heartbeat(kind: Kind, group: str) -> bytes:
    request = _s.HeartbeatRequest(client_type=_d.ClientType.Value(kind))
    if group:
        request.group.name = group
    return _bytes(request)


def termination(group: str) -> bytes:
    return _bytes(_s.NotifyClientTerminationRequest(group=_resource(group) if group else None))


def route(topic: str, endpoint: str) -> bytes:
    return _bytes(_s.QueryRouteRequest(topic=_resource(topic), endpoints=_endpoints(endpoint)))


def _read_route(raw: bytes) -> Reply[list[Queue]]:
    response = _s.QueryRouteResponse.FromString(raw)
    return Reply(_status(response), [_queue(each) for each in response.message_queues])


def _queue(queue: Any) -> Queue:
    permission = _d.Permission.Name(queue.permission)
    types = frozenset(_d.MessageType.Name(each) for each in queue.accept_message_types)
    readable, writable = "READ" in permission, "WRITE" in permission
    return Queue(queue.broker.name, queue.id, readable, writable, types, _bytes(queue))


# Sending


def send(messages: Iterable[tuple[str, Outgoing]], now: int) -> bytes:
    """Messages with their ids. Several in one request are stored as one batch in one queue."""
    return _bytes(_s.SendMessageRequest(messages=[_message(number, each, now) for number, each in messages]))


def _message(number: str, outgoing: Outgoing, now: int) -> Any:
    message = _d.Message(topic=_resource(outgoing.topic), body=outgoing.body)
    system = message.system_properties
    system.message_id = number
    _set_time(system.born_timestamp, now)
    system.born_host = "127.0.0.1"
    system.body_encoding = _d.Encoding.IDENTITY
    system.message_type = _d.MessageType.Value(outgoing.type)
    if outgoing.lite_topic:
        system.lite_topic = outgoing.lite_topic
    elif outgoing.priority is not None:
        system.priority = outgoing.priority
    elif outgoing.deliver_at is not None:
        _set_time(system.delivery_timestamp, outgoing.deliver_at)
    if outgoing.tag:
        system.tag = outgoing.tag
    if outgoing.keys:
        system.keys.extend(outgoing.keys)
    if outgoing.properties:
        message.user_properties.update(outgoing.properties)
    return message


def _read_sent(raw: bytes) -> Reply[list[Reply[str]]]:
    response = _s.SendMessageResponse.FromString(raw)
    return Reply(_status(response), [Reply(_status(each), str(each.message_id)) for each in response.entries])


# Receiving


def receive(group: str, queue: Queue, expression: str, limit: int, invisible: float, poll: float) -> bytes:
    request = _s.ReceiveMessageRequest(
        group=_resource(group),
        message_queue=_d.MessageQueue.FromString(queue.raw),
        filter_expression=_filter(expression),
        batch_size=limit,
        auto_renew=False,
        attempt_id=uuid.uuid4().hex,
    )
    _set_duration(request.invisible_duration, invisible)
    _set_duration(request.long_polling_timeout, poll)
    return _bytes(request)


def read_received(raw: bytes) -> Received | Status | None:
    """A part of the stream of replies: a message, the verdict, or something else."""
    response = _s.ReceiveMessageResponse.FromString(raw)
    content = response.WhichOneof("content")
    if content == "status":
        return _status(response)
    return _received(response.message) if content == "message" else None


def _received(message: Any) -> Received:
    system = message.system_properties
    return Received(
        topic=message.topic.name,
        lite_topic=system.lite_topic,
        body=message.body,
        id=system.message_id,
        keys=tuple(system.keys),
        tag=system.tag,
        properties={name: value for name, value in message.user_properties.items() if name not in _INTERNAL},
        attempt=system.delivery_attempt,
        offset=system.queue_offset,
        queue=system.queue_id,
        born=_time(system.born_timestamp),
        stored=_time(system.store_timestamp),
        handle=system.receipt_handle,
    )


def ack(group: str, topic: str, entries: Iterable[Received]) -> bytes:
    """Messages of one topic, or of any LiteTopics of one parent."""
    request = _s.AckMessageRequest(group=_resource(group), topic=_resource(topic))
    for each in entries:
        entry = request.entries.add(message_id=each.id, receipt_handle=each.handle)
        if each.lite_topic:
            entry.lite_topic = each.lite_topic
    return _bytes(request)


def _read_acked(raw: bytes) -> Reply[list[Status]]:
    response = _s.AckMessageResponse.FromString(raw)
    return Reply(_status(response), [_status(each) for each in response.entries])


def change_invisible(group: str, received: Received, seconds: float) -> bytes:
    request = _s.ChangeInvisibleDurationRequest(
        group=_resource(group),
        topic=_resource(received.topic),
        receipt_handle=received.handle,
        message_id=received.id,
        lite_topic=received.lite_topic or None,
    )
    _set_duration(request.invisible_duration, seconds)
    return _bytes(request)


def _read_changed(raw: bytes) -> Reply[str]:
    response = _s.ChangeInvisibleDurationResponse.FromString(raw)
    return Reply(_status(response), str(response.receipt_handle))


def dead_letter(group: str, received: Received) -> bytes:
    return _bytes(
        _s.ForwardMessageToDeadLetterQueueRequest(
            group=_resource(group),
            topic=_resource(received.topic),
            receipt_handle=received.handle,
            message_id=received.id,
            delivery_attempt=received.attempt,
            max_delivery_attempts=received.attempt,
            lite_topic=received.lite_topic or None,
        )
    )


def sync(action: Action, parent: str, group: str, names: Sequence[str], version: int, start: Start = None) -> bytes:
    """A change of the LiteTopics to which a client is subscribed; `start` counts for all of `names`."""
    request = _s.SyncLiteSubscriptionRequest(
        action=_d.LiteSubscriptionAction.Value(action),
        topic=_resource(parent),
        group=_resource(group),
        lite_topic_set=names,
        version=version,
    )
    if isinstance(start, int):
        request.offset_option.offset = start
    elif start is not None:
        request.offset_option.policy = _d.OffsetOption.Policy.Value(start.upper())
    return _bytes(request)


def _verdict(response: Any) -> Callable[[bytes], Reply[None]]:
    return lambda raw: Reply(_status(response.FromString(raw)), None)


HEARTBEAT: Final = Method("Heartbeat", _verdict(_s.HeartbeatResponse))
TERMINATION: Final = Method("NotifyClientTermination", _verdict(_s.NotifyClientTerminationResponse))
ROUTE: Final = Method("QueryRoute", _read_route)
SEND: Final = Method("SendMessage", _read_sent)
ACK: Final = Method("AckMessage", _read_acked)
CHANGE: Final = Method("ChangeInvisibleDuration", _read_changed)
DEAD_LETTER: Final = Method("ForwardMessageToDeadLetterQueue", _verdict(_s.ForwardMessageToDeadLetterQueueResponse))
SYNC: Final = Method("SyncLiteSubscription", _verdict(_s.SyncLiteSubscriptionResponse))


# Parts


def _bytes(message: Any) -> bytes:
    raw: bytes = message.SerializeToString()
    return raw


def _status(response: Any) -> Status:
    return Status(response.status.code, response.status.message)


def _resource(name: str) -> Any:
    return _d.Resource(name=name)


def _endpoints(endpoint: str) -> Any:
    host, port = split_endpoint(endpoint)
    return _d.Endpoints(scheme=_d.AddressScheme.IPv4, addresses=[_d.Address(host=host.strip("[]"), port=port)])


def _filter(expression: str) -> Any:
    return _d.FilterExpression(type=_d.FilterType.TAG, expression=expression)


def _set_time(timestamp: Any, at: int) -> None:
    timestamp.seconds, rest = divmod(at, 1000)
    timestamp.nanos = rest * 1_000_000


def _time(timestamp: Any) -> int:
    return int(timestamp.seconds * 1000 + timestamp.nanos // 1_000_000)


def _set_duration(duration: Any, seconds: float) -> None:
    at = round(seconds * 1000)
    duration.seconds, rest = divmod(at, 1000)
    duration.nanos = rest * 1_000_000
