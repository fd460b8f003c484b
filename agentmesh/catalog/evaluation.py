"""How well a catalog is searched: the right skill first, among the first five and ten, and silence where none fits.

A data set is two files of JSON lines. Of the catalog: `id, name, description` and, if there are, `params` (a text
`name: what it is; …`), `tags` and `examples` (lists). Of the queries: `id, text, relevant` (a list of ids).
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec

from agentmesh.card import AgentCapabilities, AgentCard, AgentSkill, skills_extension
from agentmesh.catalog.hit import Hit
from agentmesh.catalog.index import Index
from agentmesh.contracts import Registration
from agentmesh.errors import DeclarationError

T = TypeVar("T")
Fields = Literal["all", "name"]
FIRST: Final = 10


class Entry(msgspec.Struct, frozen=True):
    """A card of a data set."""

    id: str
    name: str
    description: str = ""
    params: str = ""
    tags: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


class Query(msgspec.Struct, frozen=True):
    """A query of a data set, and the ids of the cards that answer it."""

    id: str
    text: str
    relevant: tuple[str, ...]


class Figures(msgspec.Struct, frozen=True):
    """Shares from 0 to 1, over all queries.

    `hit_1`: the first hit is right; `recall_5` and `recall_10`: so much of what is right is among the first; `mrr`: the
    mean of 1 / the place of the first right one. `abstention_f1`, `_precision` and `_recall` are those of telling the
    queries from the same queries with their answers taken out.
    """

    queries: int
    hit_1: float
    recall_5: float
    recall_10: float
    mrr: float
    abstention_f1: float
    abstention_precision: float
    abstention_recall: float


class Outcome(msgspec.Struct, frozen=True):
    """What a query found: among all cards, and the nearest of those that do not answer it."""

    query: Query
    hits: Sequence[Hit]
    without: Hit | None


class Without(msgspec.Struct, frozen=True):
    """Filters that leave out topics."""

    topics: frozenset[str]

    def accepts(self, registration: Registration, _skill: AgentSkill) -> bool:
        return registration.topic not in self.topics


def read_entries(path: Path) -> list[Entry]:
    """The catalog of a data set. Raises `DeclarationError` naming file, line and field."""
    entries = [entry for _, entry in _lines(path, Entry)]
    if not entries:
        raise DeclarationError("there are no cards in it", path=str(path))
    seen: dict[str, int] = {}
    for line, entry in _lines(path, Entry):
        if entry.id in seen:
            raise DeclarationError(f"{entry.id!r} is on line {seen[entry.id]} already", path=str(path), line=line)
        seen[entry.id] = line
    return entries


def read_queries(path: Path, entries: Sequence[Entry]) -> list[Query]:
    """The queries of a data set. Raises `DeclarationError` naming file, line and field."""
    known = {entry.id for entry in entries}
    queries = []
    for line, query in _lines(path, Query):
        if not query.relevant:
            raise DeclarationError("there must be an id at least", path=str(path), line=line, field="relevant")
        for each in query.relevant:
            if each not in known:
                raise DeclarationError(f"{each!r} is no id of the catalog", path=str(path), line=line, field="relevant")
        queries.append(query)
    if not queries:
        raise DeclarationError("there are no queries in it", path=str(path))
    return queries


def registrations(entries: Sequence[Entry], fields: Fields = "all", *, shuffled: bool = False) -> list[Registration]:
    """An agent with one skill for each entry; `name` leaves out all but name and description.

    `shuffled` gives each id another's card, always in the same way, so that what is found is right by chance alone.
    """
    ids = [entry.id for entry in entries]
    if shuffled:
        random.Random(1).shuffle(ids)  # noqa: S311 - not a secret
    return [Registration(id_, "1", _card(entry, fields)) for id_, entry in zip(ids, entries, strict=True)]


async def outcomes(index: Index, queries: Sequence[Query]) -> list[Outcome]:
    """What each query finds."""
    found = []
    for query in queries:
        hits = await index.search(query.text, FIRST)
        others = await index.search(query.text, 1, filters=Without(frozenset(query.relevant)))
        found.append(Outcome(query, hits, others[0] if others else None))
    return found


def figures(found: Sequence[Outcome]) -> Figures:
    """The figures of at least one outcome."""
    places = [[_place(each.hits, id_) for id_ in each.query.relevant] for each in found]
    right = sum(bool(each.hits and each.hits[0].fits) for each in found)
    wrong = sum(bool(each.without and each.without.fits) for each in found)
    precision, recall = right / max(1, right + wrong), right / len(found)
    return Figures(
        len(found),
        hit_1=_mean([float(min(each) == 1) for each in places]),
        recall_5=_mean([sum(place <= 5 for place in each) / len(each) for each in places]),
        recall_10=_mean([sum(place <= FIRST for place in each) / len(each) for each in places]),
        mrr=_mean([1 / min(each) if min(each) <= FIRST else 0.0 for each in places]),
        abstention_f1=round(2 * precision * recall / (precision + recall), 4) if right else 0.0,
        abstention_precision=round(precision, 4),
        abstention_recall=round(recall, 4),
    )


def _place(hits: Sequence[Hit], topic: str) -> int:
    return next((place for place, hit in enumerate(hits, 1) if hit.topic == topic), FIRST + 1)


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4)


def _card(entry: Entry, fields: Fields) -> AgentCard:
    everything = fields == "all"
    skill = AgentSkill(
        id=entry.name,
        name=entry.name,
        description=entry.description,
        tags=entry.tags if everything else (),
        examples=entry.examples if everything else (),
    )
    schema = {"type": "object", "properties": _parameters(entry.params) if everything else {}}
    extension = skills_extension({entry.name: (schema, None, False)})
    return AgentCard(
        name=entry.name,
        description=entry.description,
        version="1",
        skills=(skill,),
        capabilities=AgentCapabilities(extensions=(extension,)),
    )


def _parameters(params: str) -> Mapping[str, Any]:
    found = {}
    for each in params.split(";"):
        name, _, told = each.partition(":")
        if name.strip():
            found[name.strip()] = {"description": told.strip()} if told.strip() else {}
    return found


def _lines(path: Path, kind: type[T]) -> Iterator[tuple[int, T]]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DeclarationError(f"cannot be read: {error.strerror}", path=str(path)) from error
    for line, each in enumerate(raw.splitlines(), 1):
        if each.strip():
            try:
                yield line, msgspec.json.decode(each, type=kind)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise DeclarationError(f"{error}", path=str(path), line=line) from error
