"""The names, heads and instances in Nacos, without one."""

import string

import pytest
from cluster.nacos.kit import agent, card
from hypothesis import given
from hypothesis import strategies as st

from agentmesh.card import AgentCard, AgentInterface
from agentmesh.contracts import Registration
from agentmesh.errors import ConfigError, Conflict, PayloadCorrupt, TopicNotFound
from agentmesh.registry.nacos import heads
from agentmesh.registry.nacos.heads import Head, Published, read_head, write_head
from agentmesh.registry.nacos.liveness import LONGEST, identity, instance_of, serving
from agentmesh.registry.nacos.names import SHARDS, card_id, decode, encode, shard
from agentmesh.registry.nacos.naming import Instance

VALID = set(string.ascii_lowercase + string.digits + "._-")


@given(st.text())
def test_a_name_is_valid_everywhere_and_comes_back(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return  # a lone surrogate is no text
    assert set(encode(name)) <= VALID
    assert decode(encode(name)) == name
    assert shard(name) in SHARDS


@given(st.text(st.sampled_from("aA_5-é")), st.text(st.sampled_from("aA_5-é")))
def test_different_names_are_different_even_where_capitals_do_not_count(one: str, other: str) -> None:
    assert (encode(one).lower() == encode(other).lower()) == (one == other)


def test_a_name_that_is_none_of_ours_is_no_name() -> None:
    for strange in ("a_", "a_1", "a_zz", "_ff"):
        with pytest.raises(ValueError, match=r"."):
            decode(strange)


def test_a_version_too_long_for_a_document_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"WeatherTask: its version '1\.1\.1\."):
        card_id("WeatherTask", "1." * 200)


HEAD = Head("T", 3, "2.0", {"gray": "2.0"}, {}, {"1.0": Published("one", 1), "2.0": Published("two", 2)})


def test_a_head_is_read_as_it_was_written() -> None:
    assert read_head(write_head(HEAD), "x") == HEAD
    with pytest.raises(PayloadCorrupt, match="The document g/x in Nacos is not agentmesh's"):
        read_head('{"name": "somebody else"}', "g/x")


def test_a_new_version_becomes_the_latest_if_it_is_above_it() -> None:
    after = heads.published(HEAD, "2.1", "three", 5)
    assert after
    assert (after.latest, after.rev, after.versions["2.1"]) == ("2.1", 4, Published("three", 5))
    older = heads.published(HEAD, "1.5", "three", 5)
    assert older
    assert older.latest == "2.0"
    assert heads.published(HEAD, "1.0", "one", 5) is None
    with pytest.raises(Conflict, match=r"T 1\.0 is registered with another card"):
        heads.published(HEAD, "1.0", "another", 5)


def test_after_a_rollback_only_a_version_that_is_new_moves_on() -> None:
    back = heads.pointed(HEAD, "1.0", {})
    assert back
    assert heads.published(back, "2.0", "two", 5) is None
    fixed = heads.published(back, "1.0.1", "fixed", 5)
    assert fixed
    assert fixed.latest == "1.0.1"


def test_labels_move_and_go() -> None:
    moved = heads.pointed(HEAD, "", {"gray": "1.0", "canary": "2.0"})
    assert moved
    assert moved.labels == {"gray": "1.0", "canary": "2.0"}
    gone = heads.pointed(moved, "", {"gray": ""})
    assert gone
    assert gone.labels == {"canary": "2.0"}
    assert heads.pointed(HEAD, "2.0", {"gray": "2.0"}) is None
    with pytest.raises(TopicNotFound, match=r"T 3\.0"):
        heads.pointed(HEAD, "3.0", {})
    with pytest.raises(TopicNotFound, match=r"T 3\.0"):
        heads.pointed(HEAD, "", {"gray": "3.0"})


def test_a_share_of_a_label_is_one_of_its_version() -> None:
    head = heads.routed(HEAD, {"1.0": 90, "gray": 10})
    assert head
    assert head.shares() == {"1.0": 90, "2.0": 10}
    moved = heads.pointed(head, "", {"gray": "1.0"})
    assert moved
    assert moved.shares() == {"1.0": 100}
    dropped = heads.pointed(head, "", {"gray": ""})
    assert dropped
    assert dropped.shares() == {"1.0": 90}
    with pytest.raises(ConfigError, match=r"T 1\.0 cannot get a share of -1"):
        heads.routed(HEAD, {"1.0": -1})


def test_what_the_server_lost_is_put_back_and_what_others_wrote_is_kept() -> None:
    ours = Head("T", 3, "2.0", {"gray": "2.0"}, {}, {"2.0": Published("two")})
    empty = heads.restored(Head("T"), ours)
    assert empty == Head("T", 4, "2.0", {"gray": "2.0"}, {}, {"2.0": Published("two")})
    theirs = Head("T", 3, "1.0", {}, {}, {"1.0": Published("one")})
    both = heads.restored(theirs, ours)
    assert both
    assert both.rev == 4
    assert set(both.versions) == {"1.0", "2.0"}
    assert heads.restored(HEAD, ours) is None
    assert heads.restored(Head("T", 9), ours) is None  # it was removed


def test_an_instance_says_which_cards_its_process_serves() -> None:
    served = [agent(version="1.0"), agent(version="2 β")]
    instance = instance_of("WeatherTask", "node-1", served, {"1.0": "one", "2 β": "two"})
    told = serving(instance)
    assert told
    assert (told.node, told.versions) == ("node-1", {"1.0": "one", "2 β": "two"})
    assert (instance.host, instance.port) == identity("node-1") != identity("node-2")
    assert all(ord(letter) < 128 for value in instance.metadata.values() for letter in value)


def test_an_instance_of_somebody_else_is_none_of_ours() -> None:
    assert serving(Instance("10.0.0.1", 80, {"preserved.register.source": "SPRING_CLOUD"})) is None
    assert serving(Instance("10.0.0.1", 80, {"node": "x", "v": "1 2", "sha": "one"})) is None


@pytest.mark.parametrize(
    ("interface", "wrong"),
    [
        (AgentInterface(url="https://example.org/" + "x" * 1000), "Shorten the URL of the first interface"),
        (AgentInterface(url="u", protocol_binding="x" * 1000), "Shorten the protocol binding"),
    ],
)
def test_metadata_longer_than_nacos_takes_is_refused_naming_the_topic(interface: AgentInterface, wrong: str) -> None:
    long = AgentCard(name="x", version="1", supported_interfaces=(interface,))
    with pytest.raises(ConfigError, match=f"WeatherTask 1: .* it takes 1,024. {wrong}"):
        instance_of("WeatherTask", "node", [Registration("WeatherTask", "1", long)], {"1": "sha"})


def test_metadata_hold_a_dozen_versions_and_not_a_hundred() -> None:
    def told(count: int) -> Instance:
        versions = [f"1.{number}.0" for number in range(count)]
        agents = [Registration("T", version, card(version=version)) for version in versions]
        return instance_of("T", "node", agents, dict.fromkeys(versions, "x" * 26))

    assert sum(len(name) + len(value) for name, value in told(12).metadata.items()) < LONGEST
    with pytest.raises(ConfigError, match=r"T .*Serve fewer versions of it in one process"):
        told(100)
