"""What the settings of a broker (broker.conf) have to be, and what happens if they are not."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from agentmesh.broker.rocketmq.names import TTL

OLDEST: Final = (5, 5, 0)
"""The first version that has LiteTopics."""

_HOURS: Final = max(TTL.values()) // 60
_BOOKS: Final = 48


class Problem(NamedTuple):
    """What is wrong, and what to do about it. What is `grave` loses something or keeps the mesh from working."""

    text: str
    fix: str
    grave: bool = False


class _Flag(NamedTuple):
    """A setting, whether a value will do, what to set it to, and what another one does."""

    name: str
    will_do: Callable[[str], bool]
    best: str
    harm: str
    grave: bool = False


def _at_least(number: int) -> Callable[[str], bool]:
    return lambda value: _number(value) >= number


def _at_most(number: int) -> Callable[[str], bool]:
    return lambda value: _number(value) <= number


def _number(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        return 0


_LOST: Final = "LiteTopics are switched off: what is sent to one is lost"
_REPAIR: Final = "a wake-up that was missed is made up for that late (ms)"
_FLAGS: Final = (
    _Flag("enableLmq", lambda value: value == "true", "true", _LOST, grave=True),
    _Flag("enableMultiDispatch", lambda value: value == "true", "true", _LOST, grave=True),
    _Flag(
        "storeType",
        lambda value: value.startswith("defaultRocksDB"),
        "defaultRocksDB",
        "every LiteTopic keeps a file open, and at the limit of open files (20,000 or so) it takes nothing more; "
        "a store that exists is not converted, so begin with an empty one",
    ),
    _Flag(
        "maxClientEventCount",
        _at_least(100_000),
        "100000",
        "when more LiteTopics than that have something to read, clients hear of the rest 10 to 31 s late",
    ),
    _Flag("liteEventCheckInterval", _at_most(1_000), "1000", _REPAIR),
    _Flag("liteEventFullDispatchDelayTime", _at_most(1_000), "1000", _REPAIR),
    _Flag(
        "maxLiteSubscriptionCount",
        _at_least(1_000_000),
        "1000000",
        "no more calls, runs and sessions than that can be followed at once",
    ),
    _Flag("enableLmqQuota", lambda value: value != "true", "false", "no more LiteTopics than its quota are made"),
    _Flag(
        "waitTimeMillsInSendQueue",
        _at_least(2_000),
        "2000",
        'a send that waits longer (ms) is refused as "broker busy" under load',
    ),
    _Flag(
        "maxMessageSize",
        _at_least(1_572_864),
        "4194304",
        "bodies of up to 1 MB, and what belongs to them, do not fit into it",
        grave=True,
    ),
)


def problems(flags: Mapping[str, str]) -> Iterator[Problem]:
    """Of these settings. What they do not say is not judged."""
    for each in _FLAGS:
        value = flags.get(each.name)
        if value is not None and not each.will_do(value):
            yield Problem(f"{each.name}={value}: {each.harm}.", _line(f"{each.name}={each.best}"), each.grave)
    kept = _number(flags.get("fileReservedTime", str(_HOURS)))
    if kept < _HOURS:
        text = (
            f"fileReservedTime={kept}: messages are deleted after {kept} h, whatever lives that long. Logs of runs, "
            f"sessions and tasks are to last for {_HOURS} h after their last entry, and lose their beginnings before."
        )
        grave = kept < _BOOKS
        text += " The books of the mesh, which are written anew once a day, get lost too." if grave else ""
        yield Problem(text, _line("fileReservedTime=744"), grave)


def version_problem(version: str) -> Problem | None:
    """What is wrong with a broker of this version, such as `5.5.0`."""
    numbers = tuple(_number(each) for each in version.partition("-")[0].split("."))
    if numbers >= OLDEST:
        return None
    text = f"The broker is RocketMQ {version or 'of unknown version'}, which has no LiteTopics."
    return Problem(text, "Install 5.5.0 or newer: name server, broker and proxy.", grave=True)


def _line(setting: str) -> str:
    return f"broker.conf: {setting} (then start the broker again)"
