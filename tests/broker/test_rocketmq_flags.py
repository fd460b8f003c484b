"""What is wrong with the settings of a RocketMQ broker, and the lines of an administrator."""

import pytest

from agentmesh.broker.rocketmq import flags, needs
from agentmesh.broker.rocketmq.health import skew_problem
from agentmesh.broker.rocketmq.names import Names

GOOD = {
    "enableLmq": "true",
    "enableMultiDispatch": "true",
    "storeType": "defaultRocksDB",
    "maxClientEventCount": "100000",
    "liteEventCheckInterval": "1000",
    "liteEventFullDispatchDelayTime": "1000",
    "maxLiteSubscriptionCount": "1000000",
    "enableLmqQuota": "false",
    "waitTimeMillsInSendQueue": "2000",
    "maxMessageSize": "4194304",
    "fileReservedTime": "744",
}
"""As `deploy/conf/broker.conf` has them."""


def test_a_broker_that_is_set_as_ours_has_no_problems() -> None:
    assert list(flags.problems(GOOD)) == []
    assert list(flags.problems({})) == []  # an older one may not tell


@pytest.mark.parametrize(
    ("name", "value", "grave"),
    [
        ("enableLmq", "false", True),
        ("enableMultiDispatch", "false", True),
        ("storeType", "default", False),
        ("maxClientEventCount", "100", False),
        ("liteEventCheckInterval", "10000", False),
        ("maxLiteSubscriptionCount", "100000", False),
        ("enableLmqQuota", "true", False),
        ("waitTimeMillsInSendQueue", "200", False),
        ("maxMessageSize", "1048576", True),
        ("fileReservedTime", "72", False),
        ("fileReservedTime", "24", True),
    ],
)
def test_each_setting_that_is_not_comes_with_the_line_that_mends_it(name: str, value: str, grave: bool) -> None:
    (problem,) = flags.problems({**GOOD, name: value})
    assert problem.text.startswith(f"{name}={value}: ")
    assert problem.fix.startswith(f"broker.conf: {name}={GOOD[name]} ")
    assert problem.grave == grave


@pytest.mark.parametrize("version", ["5.5.0", "5.5.1-SNAPSHOT", "6.0.0"])
def test_a_broker_that_has_lite_topics_is_new_enough(version: str) -> None:
    assert flags.version_problem(version) is None


@pytest.mark.parametrize("version", ["5.4.0", "4.9.8", ""])
def test_a_broker_that_is_older_is_a_problem(version: str) -> None:
    problem = flags.version_problem(version)
    assert problem
    assert problem.grave
    assert "5.5.0" in problem.fix


@pytest.mark.parametrize(("ms", "said"), [(2_001, "2 s ahead of"), (-3_600_000, "3,600 s behind")])
def test_a_clock_that_is_off_by_more_than_two_seconds_is_a_problem(ms: int, said: str) -> None:
    problem = skew_problem(ms)
    assert problem
    assert said in problem.text
    assert skew_problem(2_000) is None


def test_the_lines_for_an_administrator_begin_with_the_rights_of_the_user() -> None:
    lines = needs.lines(Names("shop"), needs.Administrator("10.0.0.1:9876", "Main"), "ann")
    assert lines[0] == (
        "mqadmin createAcl -n 10.0.0.1:9876 -c Main -s User:ann -r 'Topic:shop-*,Topic:%LMQ%$shop-*,"
        "Topic:%RETRY%shop-*,Topic:TBW102,Group:shop-*,Group:CID_RMQ_SYS_*' "
        "-a Pub,Sub,Create,Update,Delete,Get,List -d Allow"
    )
    assert (
        "mqadmin updateTopic -n 10.0.0.1:9876 -c Main -t shop-agentmesh-call -r 1 -w 1 "
        "-a +message.type=LITE,+lite.topic.expiration=4320"
    ) in lines
    assert len(lines) == 14
