"""agentmesh bench: what its rows look like."""

import json

from cli.commands import Project

from agentmesh.cli.bench.cards import made


def test_the_agents_of_the_measurement_are_always_the_same_and_half_of_them_chinese() -> None:
    first, again = list(made(50)), list(made(50))
    assert first == again
    assert len({agent.card.description for agent, _ in first}) == 50
    assert sum(not query.isascii() for _, query in first) == 25


def test_bench_discovery_has_a_row_for_each_size(shared: Project) -> None:
    done = shared.run("bench", "discovery", "--cards", "40", "--cards", "50", "--embedder", "none", "--json")
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["name"] for row in rows] == ["discovery.40", "discovery.50"]
    for row in rows:
        assert row.keys() == {"name", "figures", "floor", "ratio"}
        assert row["figures"].keys() == {"cold_start_s", "warm_start_s", "p50_ms", "p99_ms", "memory_mb"}
    assert "50 cards: a warm start" in done.err
    for_people = shared.run("bench", "discovery", "--cards", "40", "--embedder", "none")
    assert for_people.out.startswith("discovery.40: cold_start_s ")
