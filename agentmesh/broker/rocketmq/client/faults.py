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


_MISSING = (40402, 40403)
_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


def code_of(error: BaseException) -> int:
    """RocketMQ's code behind an error of ours; 0: there is none."""
    return error.__cause__.code if isinstance(error.__cause__, Refusal) else 0


def may_pass(error: MeshError) -> bool:
    """Whether the same request may be answered well in a while."""
    return isinstance(error, BrokerUnavailable)


def is_missing(error: MeshError) -> bool:
    """Whether RocketMQ knows no such topic or group (yet, or any more)."""
    return code_of(error) in _MISSING


def forgotten(error: MeshError) -> MeshError:
    """The error for a topic or group that was there a while ago: a proxy says so for some seconds after a broker was
    started again."""
    away = BrokerUnavailable(f"{error} It was there before: it may come back when the broker has started.")
    away.__cause__ = error.__cause__
    return away


def refusal(status: Status, doing: Doing) -> MeshError:
    """The error for a verdict other than well; its cause is a `Refusal`."""
    status = _plain(status)
    error = _refused(status, doing)
    error.__cause__ = Refusal(status)
    return error


def _plain(status: Status) -> Status:
    """A proxy knows a missing topic by its missing type, and calls a missing group illegal."""
    if status.code == 40014 and "UNSPECIFIED" in status.message:
        return Status(40402, status.message)
    if status.code == 40003 and "not found" in status.message:
        return Status(40403, status.message)
    return status


def _refused(status: Status, doing: Doing) -> MeshError:
    code = status.code
    words = status.message.split("For more information")[0].split()
    said = f"{doing}: {code} {status.name}: {' '.join(words).rstrip('.')}."
    if any(each in status.message for each in _LOCAL_MODE):
        return ConfigError(f"{doing}: {_NO_LITE_MODE}")
    if code in _MEANINGS:
        kind, advice = _MEANINGS[code]
        return kind(f"{said} {advice.format(**doing._asdict())}")
    if code // 100 in (401, 403):
        return Unauthorized(f"{said} {_acl(doing, status.message)}")
    if code // 100 == 413 or code // 100 == 431:
        return PayloadTooLarge(f"{said} {_TOO_LARGE}")
    if code // 10000 == 4:
        return ConfigError(said)
    return BrokerUnavailable(f"{said} Its logs say more (proxy.log, broker.log).")


def _acl(doing: Doing, message: str = "") -> str:
    if not doing.user:
        return "It wants a user: give the access key and the secret key of one."
    if "signature" in message:
        return f"The secret key of user {doing.user!r} is wrong."
    rights = f"Topic:{doing.topic or 'NAME'}{f',Group:{doing.group}' if doing.group else ''}"
    return (
        f"User {doing.user!r} has no right to it. An administrator grants it with: mqadmin createAcl -n NAMESRV:9876 "
        f"-c CLUSTER -s User:{doing.user} -r {rights} -a {'Sub' if doing.group else 'Pub,Sub'} -d Allow"
    )


_LOCAL_MODE = ("LocalMessageService", "getLiteSubscriptionService()")
_NO_LITE_MODE = (
    "This proxy runs in LOCAL mode, which has no LiteTopics. Start it in CLUSTER mode, beside a broker: mqproxy -pm "
    "cluster -n NAMESRV:9876 (apache/rocketmq#10478)."
)
_CERTIFICATE = "Give the certificate of its authority: ?tls=true&ca=PATH, and the host as the certificate names it."
_TOO_LARGE = "Cut it into parts, or raise maxMessageSize on broker and proxy together."
_CREATE = "mqadmin updateTopic -n NAMESRV:9876 -c CLUSTER -t {topic} -r 1 -w 1 -a +message.type=TYPE"
_DELETE = "mqadmin deleteTopic -n NAMESRV:9876 -c CLUSTER -t {topic}"
_BIND = (
    "A group of LiteTopics is bound to their parent: mqadmin updateSubGroup -n NAMESRV:9876 -c CLUSTER -g {} -o true "
    "--attributes +lite.bind.topic=PARENT,+lite.sub.client.max.event.cnt=100000"
)
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
    said = f"{doing}: {code.name}: {details.rstrip('.')}."
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return ConfigError(f"{said} This is no RocketMQ proxy's gRPC port (8081), or it is older than 5.5.0.")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return PayloadTooLarge(f"{said} {_TOO_LARGE} (proxy: grpcMaxInboundMessageSize.)")
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return Unauthorized(f"{said} {_acl(doing, details)}")
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        if "not found" in details:  # also for some moments after a server was started
            return BrokerUnavailable(f"{said} {_MEANINGS[40403][1].format(**doing._asdict())}")
        return ConfigError(f"{said} {_BIND.format(doing.group) if 'cannot use LITE' in details else ''}".rstrip())
    if "CERTIFICATE_VERIFY_FAILED" in details:
        return ConfigError(f"{said} {_CERTIFICATE}")
    if code in _LOST:
        return BrokerUnavailable(
            f"{said} Check that a RocketMQ proxy listens for gRPC at {doing.endpoint} (by default on port 8081), "
            "and whether it wants TLS (?tls=true)."
        )
    return BrokerUnavailable(said)
