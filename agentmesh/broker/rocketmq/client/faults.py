"""What RocketMQ and gRPC refuse, as errors of ours that say where it was and what to do about it."""

from typing import NamedTuple

import grpc

from agentmesh.broker.rocketmq.client.wire import Status
from agentmesh.errors import (
    BrokerUnavailable,
    ConfigError,
    LeaseLost,
    MeshError,
    PayloadCorrupt,
    PayloadTooLarge,
    QuotaExceeded,
    Unauthorized,
)


class Refusal(Exception):
    """RocketMQ's own answer: the cause of the error that was made of it."""

    def __init__(self, status: Status) -> None:
        super().__init__(f"{status.code} {status.name}: {status.message}")
        self.code = status.code
        self.status = status


class Doing(NamedTuple):
    """What was being done, for the error that says so."""

    what: str
    endpoint: str
    topic: str = ""
    group: str = ""
    user: str = ""

    def __str__(self) -> str:
        parts = (f"topic {self.topic!r}" if self.topic else "", f"group {self.group!r}" if self.group else "")
        at = ", ".join(each for each in parts if each)
        return f"{self.what} at RocketMQ {self.endpoint}" + (f" ({at})" if at else "")


_AGAIN = frozenset((42900, 40800, 50000, 50001, 50002, 50400, 50401, 50402))
"""Codes after which the same request may be sent again: busy, timed out, an answer lost on the way."""

_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


def code_of(error: BaseException) -> int:
    """RocketMQ's code behind an error of ours; 0: there is none."""
    return error.__cause__.code if isinstance(error.__cause__, Refusal) else 0


def may_pass(error: MeshError) -> bool:
    """Whether the same request may be answered well in a while."""
    code = code_of(error)
    return code in _AGAIN and not _for_good(error) if code else isinstance(error, BrokerUnavailable)


def _for_good(error: MeshError) -> bool:
    return not isinstance(error, BrokerUnavailable | QuotaExceeded)


def refusal(status: Status, doing: Doing) -> MeshError:
    """The error for a verdict other than well; its cause is a `Refusal`."""
    error = _refused(status, doing)
    error.__cause__ = Refusal(status)
    return error


def _refused(status: Status, doing: Doing) -> MeshError:
    code, message = status
    if code == 40014 and "UNSPECIFIED" in message:  # a proxy that checks types first knows it by that
        code = 40402
    said = f"{doing}: {code} {status.name}: {message}"
    if code in _MEANINGS:
        kind, advice = _MEANINGS[code]
        return kind(f"{said}. {advice.format(**doing._asdict())}")
    if code // 100 in (401, 403):
        return Unauthorized(f"{said}. {_acl(doing)}")
    if code // 100 == 413 or code // 100 == 431:
        return PayloadTooLarge(f"{said}. {_TOO_LARGE}")
    if code // 10000 == 4:
        return ConfigError(f"{said}.")
    return BrokerUnavailable(f"{said}. Its logs say more (proxy.log, broker.log).")


def _acl(doing: Doing) -> str:
    user = doing.user or "USER"
    rights = f"Topic:{doing.topic or 'NAME'}{f',Group:{doing.group}' if doing.group else ''}"
    actions = "Sub" if doing.group else "Pub,Sub"
    return (
        f"User {user!r} has no right to it, or its secret key is wrong. An administrator grants it with: "
        f"mqadmin createAcl -n NAMESRV:9876 -c CLUSTER -s User:{user} -r {rights} -a {actions} -d Allow"
    )


_TOO_LARGE = "Cut it into parts, or raise maxMessageSize on broker and proxy together."
_CREATE = "mqadmin updateTopic -n NAMESRV:9876 -c CLUSTER -t {topic} -r 1 -w 1 -a +message.type=TYPE"
_DELETE = "mqadmin deleteTopic -n NAMESRV:9876 -c CLUSTER -t {topic}"
_MEANINGS: dict[int, tuple[type[MeshError], str]] = {
    40002: (ConfigError, "Use letters, digits, '_' and '-'."),
    40003: (ConfigError, "The group may not have this name."),
    40011: (ConfigError, "The first invisible time has to be 10 s to 12 h, a later one at least 1 s."),
    40012: (
        ConfigError,
        "It can be delivered a day from now at the latest, unless the proxy's maxDelayTimeMills is raised.",
    ),
    40013: (LeaseLost, "Its time is over or it was acked: it belongs to whoever receives it next."),
    40014: (
        ConfigError,
        f"The topic is of another type, which cannot be changed. Delete it: {_DELETE} Then create it: {_CREATE}",
    ),
    40020: (ConfigError, "Use 1 to 64 letters, digits, '_' or '-'."),
    40402: (ConfigError, f"There is no such topic. Create it: {_CREATE}"),
    40403: (
        ConfigError,
        "There is no such group. Create it: mqadmin updateSubGroup -n NAMESRV:9876 -c CLUSTER -g {group}",
    ),
    41302: (PayloadCorrupt, "An empty body is refused."),
    42900: (BrokerUnavailable, "It is busy: send less at once, or raise waitTimeMillsInSendQueue (broker.conf)."),
    42901: (QuotaExceeded, "Raise maxLmqConsumeQueueNum, or set enableLmqQuota=false (broker.conf)."),
    42902: (QuotaExceeded, "Raise maxLiteSubscriptionCount (broker.conf), or the group's lite.sub.client.quota."),
    50100: (ConfigError, "The server cannot do this: it has to be 5.5.0 or newer, its proxy in CLUSTER mode."),
    50500: (ConfigError, "The server cannot do this: it has to be 5.5.0 or newer, its proxy in CLUSTER mode."),
    50501: (ConfigError, "The server cannot do this: it has to be 5.5.0 or newer, its proxy in CLUSTER mode."),
}
"""What a code means, and what to do."""


def broken(error: grpc.RpcError, doing: Doing) -> MeshError:
    """The error for a call that got no answer."""
    code, details = error.code(), str(error.details() or "")
    said = f"{doing}: {code.name}: {details}"
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return ConfigError(f"{said}. This is no RocketMQ proxy's gRPC port (8081), or it is older than 5.5.0.")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return PayloadTooLarge(f"{said}. {_TOO_LARGE} (proxy: grpcMaxInboundMessageSize.)")
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return Unauthorized(f"{said}. {_acl(doing)}")
    if code in _LOST:
        return BrokerUnavailable(
            f"{said}. Check that a RocketMQ proxy listens for gRPC at {doing.endpoint} (by default on port 8081), "
            "and whether it wants TLS (?tls=true)."
        )
    return BrokerUnavailable(f"{said}.")
