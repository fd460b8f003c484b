"""What a broker refuses over the remoting protocol, as errors of ours."""

from agentmesh.broker.rocketmq.remoting.frame import Answer
from agentmesh.errors import BrokerUnavailable, ConfigError, MeshError, QuotaExceeded, Unauthorized

NOT_SUPPORTED = 3
NO_PERMISSION = 16
NO_TOPIC = 17
NO_GROUP = 26
_BUSY = (2, 14, 215, 1500)
"""Busy, not ready, asked to send less, about to stop."""

_WRONG = (13, 15, 18, 23, 29)
_FULL = (2017, 2018)
_ADMIN = "mqadmin {} -n NAMESRV:9876 -c CLUSTER"


class Refusal(Exception):
    """The broker's own answer: the cause of the error that was made of it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.code}: {answer.remark}")
        self.code = answer.code


def refusal(answer: Answer, doing: str, name: str, user: str) -> MeshError:
    """The error for an answer other than well. `doing` says what and where, `name` is the topic or group."""
    error = _refused(answer, doing, name, user)
    error.__cause__ = Refusal(answer)
    return error


def _refused(answer: Answer, doing: str, name: str, user: str) -> MeshError:
    remark = " ".join(answer.remark.split()).split(" See http")[0].split(" For more information")[0]
    said = f"{doing}: {answer.code} {remark.rstrip(' .')}."
    code = answer.code
    if code == NOT_SUPPORTED:
        return ConfigError(
            f"{said} A proxy cannot do this, nor can a name server: give the port of a broker or of a name server that "
            "knows it (?remoting=HOST:10911 or ?remoting=HOST:9876)."
        )
    if code == NO_PERMISSION or "AuthenticationException" in remark or "AuthorizationException" in remark:
        if not user:
            return Unauthorized(f"{said} It wants a user: give the access key and the secret key of one.")
        grant = f"-s User:{user} -r Topic:{name or 'NAME'} -a Pub,Sub -d Allow"
        return Unauthorized(
            f"{said} User {user!r} has no right to it, or its secret key is wrong. An administrator grants it with: "
            f"{_ADMIN.format('createAcl')} {grant}"
        )
    if code == NO_TOPIC and name.startswith("%LMQ%"):
        return ConfigError(
            f"{said} LiteTopics are switched off there, and what is sent to one is lost. Set enableLmq=true and "
            "enableMultiDispatch=true (broker.conf) and start the broker again."
        )
    if code == NO_TOPIC:
        return ConfigError(f"{said} Create it: {_ADMIN.format('updateTopic')} -t {name} -r 1 -w 1")
    if code == NO_GROUP:
        return ConfigError(f"{said} Create it: {_ADMIN.format('updateSubGroup')} -g {name}")
    if code in _FULL:
        return QuotaExceeded(f"{said} Raise maxLmqConsumeQueueNum or maxLiteSubscriptionCount (broker.conf).")
    if code in _BUSY:
        return BrokerUnavailable(f"{said} Try again in a while.")
    if code in _WRONG:
        return ConfigError(said)
    return BrokerUnavailable(f"{said} Its log says more (broker.log).")
