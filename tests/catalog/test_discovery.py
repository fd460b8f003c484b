"""Finding the right agent for a sentence, in two languages, and saying that there is none."""

from pathlib import Path

import pytest
from catalog.kit import CARDS, QUERIES

from agentmesh.catalog.embedders import choose
from agentmesh.catalog.evaluation import (
    Figures,
    Without,
    figures,
    outcomes,
    read_entries,
    read_queries,
    registrations,
)
from agentmesh.catalog.index import Index
from agentmesh.errors import DeclarationError


async def measured(embedder: str, *, shuffled: bool = False, within: str = "") -> Figures:
    entries = read_entries(CARDS)
    queries = read_queries(QUERIES, entries)
    index = Index(choose(embedder))
    await index.put(registrations(entries, shuffled=shuffled))
    return figures(await outcomes(index, queries))


async def test_the_right_agent_comes_first_in_both_languages_and_across_them() -> None:
    found = await measured("use")
    assert found.queries == 40
    assert found.hit_1 >= 0.95
    assert found.recall_5 == 1
    assert found.abstention_f1 >= 0.85


async def test_words_alone_find_what_is_in_the_query_s_script() -> None:
    found = await measured("none")
    assert 0.7 <= found.hit_1 <= 0.8  # a quarter of the queries is in the other script
    assert found.abstention_f1 >= 0.7


async def test_a_shuffled_catalog_falls_to_chance() -> None:
    found = await measured("use", shuffled=True)
    assert found.hit_1 <= 0.1
    assert found.recall_10 <= 0.5
    assert found.abstention_f1 <= 0.7


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("我头痛发烧，该不该去看医生", "doctor"),
        ("帮我找一套出租的公寓", "house"),
        ("which universities can I apply to with my exam score", "school"),
        ("write a classical Chinese poem", "poem"),
    ],
)
async def test_a_query_in_one_script_finds_cards_in_the_other(query: str, best: str) -> None:
    index = Index(choose())
    await index.put(registrations(read_entries(CARDS)))
    first = (await index.search(query))[0]
    assert first.topic == best
    assert first.why.words is None


async def test_what_was_taken_out_is_not_found_and_mostly_nothing_fits() -> None:
    index = Index(choose())
    await index.put(registrations(read_entries(CARDS)))
    hits = await index.search("Will it rain in Paris tomorrow?", filters=Without(frozenset({"weather"})))
    assert "weather" not in [hit.topic for hit in hits]
    assert not any(hit.fits for hit in hits)


@pytest.mark.parametrize("query", ["unclog my kitchen sink", "我家水管漏水了，找人来修", "asdf qwer zxcv"])
async def test_nothing_fits_what_nobody_does(query: str) -> None:
    index = Index(choose())
    await index.put(registrations(read_entries(CARDS)))
    assert not any(hit.fits for hit in await index.search(query))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "cards.jsonl:2"),
        ('{"id": "a"}', "cards.jsonl:2: Object missing required field `name`"),
        ('{"id": 1, "name": "a"}', r"cards.jsonl:2: Expected `str`, got `int` - at `\$.id`"),
        ('{"id": "x", "name": "a"}', "cards.jsonl:2: 'x' is on line 1 already"),
    ],
)
def test_what_is_no_catalog_is_told_with_file_and_line(line: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "cards.jsonl"
    file.write_text(f'{{"id": "x", "name": "X", "lang": "en"}}\n{line}\n')
    with pytest.raises(DeclarationError, match=said):
        read_entries(file)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[]", "queries.jsonl:2"),
        ('{"id": "q", "text": "t", "relevant": []}', "queries.jsonl:2: relevant: there must be an id"),
        ('{"id": "q", "text": "t", "relevant": ["nobody"]}', "queries.jsonl:2: relevant: 'nobody' is no id"),
    ],
)
def test_what_is_no_query_is_told_with_file_and_line(line: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "queries.jsonl"
    file.write_text(f'{{"id": "q", "text": "t", "relevant": ["weather"]}}\n{line}\n')
    with pytest.raises(DeclarationError, match=said):
        read_queries(file, read_entries(CARDS))


@pytest.mark.parametrize("text", [None, "", "\n\n"])
def test_a_file_with_nothing_in_it_is_told(text: str | None, tmp_path: Path) -> None:
    file = tmp_path / "cards.jsonl"
    if text is not None:
        file.write_text(text)
    with pytest.raises(DeclarationError, match=r"cards\.jsonl: (there are no cards|cannot be read)"):
        read_entries(file)
