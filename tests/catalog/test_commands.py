"""find and eval: what they print."""

import json

import pytest
from catalog.kit import CARDS, QUERIES
from cli.commands import Project


def test_find_shows_the_parts_of_each_score(shared: Project) -> None:
    done = shared.run("find", "--why", "数豆子", AGENTMESH_EMBEDDER="use")
    assert done.code == 0
    best = done.out.splitlines()[1]
    assert "CountAgentTask" in best
    assert "words" in done.out
    assert "meaning" in done.out
    told = json.loads(shared.run("find", "数豆子", "--json").out)
    assert told[0]["fits"] is True
    assert {"words", "meaning", "margin", "probability", "waiting", "running"} <= told[0]["why"].keys()


def test_find_says_that_nothing_fits_and_shows_the_nearest(shared: Project) -> None:
    done = shared.run("find", "unclog the kitchen sink", AGENTMESH_EMBEDDER="use")
    assert done.code == 0
    assert "nothing fits; these are the nearest:" in done.err
    assert "AgentTask" in done.out
    told = json.loads(shared.run("find", "unclog the kitchen sink", "--json").out)
    assert not any(each["fits"] for each in told)


def test_find_takes_filters_as_options_and_in_the_query(shared: Project) -> None:
    assert json.loads(shared.run("find", "数豆子", "--can", "push", "--json").out) == []
    assert json.loads(shared.run("find", "数豆子且支持推送", "--json").out) == []
    assert "nothing fits" in shared.run("find", "provider:acme 数豆子").err
    wrong = shared.run("find", "tga:x 数豆子")
    assert wrong.code == 2
    assert "Did you mean tag?" in wrong.err
    assert shared.run("find", "数豆子", "--version", "new").code == 2


def test_find_goes_by_words_without_an_embedder(shared: Project) -> None:
    told = json.loads(shared.run("find", "数豆子", "--json", AGENTMESH_EMBEDDER="none").out)
    assert told[0]["topic"] == "CountAgentTask"
    assert "meaning" not in told[0]["why"]


@pytest.mark.parametrize("embedder", ["use", "none"])
def test_eval_discovery_measures_data_of_one_s_own(embedder: str, shared: Project) -> None:
    files = ("--catalog", str(CARDS), "--queries", str(QUERIES))
    table = shared.run("eval", "discovery", *files, "--embedder", embedder)
    assert table.out.split()[:4] == ["CARDS", "QUERIES", "HIT@1", "RECALL@5"]
    told = json.loads(shared.run("eval", "discovery", *files, "--embedder", embedder, "--json").out)
    assert (told["cards"], told["queries"]) == (30, 40)
    assert told["hit_1"] > 0.7
    shuffled = json.loads(shared.run("eval", "discovery", *files, "--embedder", embedder, "--json", "--shuffled").out)
    assert shuffled["hit_1"] <= 0.1


def test_eval_discovery_tells_what_is_wrong_with_a_file(shared: Project) -> None:
    (shared.folder / "cards.jsonl").write_text('{"id": "a"}\n')
    done = shared.run("eval", "discovery", "--catalog", "cards.jsonl", "--queries", str(QUERIES))
    assert done.code == 2
    assert "cards.jsonl:1: Object missing required field `name`" in done.err
    assert shared.run("eval", "discovery", "--catalog", "nowhere.jsonl", "--queries", str(QUERIES)).code == 2
