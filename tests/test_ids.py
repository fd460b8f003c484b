"""Names and ids: what may be a name, and which things get the same id."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentmesh.errors import ConfigError
from agentmesh.ids import (
    Kind,
    check_lite_topic,
    check_topic,
    child_call,
    digest,
    keyed_call,
    kind_of,
    memory_log,
    new_id,
    new_token,
    own_log,
    session_log,
)

words = st.text(st.characters(codec="utf-8"), max_size=12)


@pytest.mark.parametrize("name", ["A", "WeatherAgentTask", "a_b-c9", "x" * 64])
def test_a_topic_is_a_letter_then_up_to_63_of_letters_digits_and_dashes(name: str) -> None:
    assert check_topic(name) == name


@pytest.mark.parametrize("name", ["", "9a", "_a", "-a", "a.b", "a b", "天气", "x" * 65, "a\n", "a\x00", "é"])
def test_anything_else_is_no_topic(name: str) -> None:
    with pytest.raises(ConfigError, match="topic"):
        check_topic(name)


@given(st.text())
def test_what_is_a_name_is_a_safe_file_name(name: str) -> None:
    for check in (check_topic, check_lite_topic):
        try:
            check(name)
        except ConfigError:
            continue
        assert re.fullmatch("[A-Za-z0-9_-]{1,64}", name)


@pytest.mark.parametrize("kind", ["call", "run"])
def test_an_id_carries_its_kind_and_is_a_uuid_of_version_7(kind: Kind) -> None:
    new = new_id(kind)
    value = int(new.removeprefix(f"{kind}-"), 16)
    assert kind_of(check_lite_topic(new)) == kind
    assert (value >> 76 & 0xF, value >> 62 & 0b11) == (7, 0b10)
    assert abs((value >> 80) - time.time() * 1000) < 5000


def test_ids_are_ordered_by_time_and_never_the_same() -> None:
    many = [new_id("call") for _ in range(5000)]
    assert len(set(many)) == 5000
    milliseconds = [each[:17] for each in many]
    assert milliseconds == sorted(milliseconds)


def test_tokens_are_never_the_same() -> None:
    many = {new_token() for _ in range(5000)}
    assert len(many) == 5000
    assert {len(token) for token in many} == {22}


@given(st.lists(words, max_size=4), st.lists(words, max_size=4))
def test_a_digest_stands_for_exactly_its_parts(one: list[str], other: list[str]) -> None:
    assert (digest(*one) == digest(*other)) == (one == other)


def test_parts_do_not_run_together() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a", "") != digest("a")
    assert digest("é") == digest("é".encode())


@given(words, words, words)
def test_what_is_derived_is_a_name_of_its_kind_and_always_the_same(a: str, b: str, c: str) -> None:
    for kind, make in (
        ("call", lambda: keyed_call(a, b, c)),
        ("run", lambda: keyed_call(a, b, c, "run")),
        ("call", lambda: child_call(a, b)),
        ("log", lambda: own_log(a, b)),
        ("session", lambda: session_log(a, b)),
        ("memory", lambda: memory_log(a, b)),
    ):
        made = make()
        assert made == make()
        assert kind_of(check_lite_topic(made)) == kind
        assert re.fullmatch(r"[a-z]+-[a-z2-7]{26}", made)


def test_tenants_and_principals_do_not_share_what_is_derived() -> None:
    assert keyed_call("a", "T", "k") != keyed_call("b", "T", "k")
    assert own_log("a", "notes") != own_log("b", "notes")
    assert session_log("a", "s") != session_log("b", "s")
    assert memory_log("a", "p") != memory_log("a", "q")
