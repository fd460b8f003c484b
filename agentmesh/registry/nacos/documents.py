"""Our documents in Nacos, and how several processes change one without losing what another wrote.

- `agentmesh.card` / `<topic>::<version>`: a card, which never changes.
- `agentmesh.agent` / `<topic>`: its head (`heads.py`).
- `agentmesh.index` / `idx-0` … `idx-f`: `{topic: rev}`. Whoever listens to these sixteen sees every change.

They are written in this order, so that what is named can be read. With compare-and-set no edit is lost. Without, as on
r-nacos, an edit is read back and done again if it is not there; edits of one head by several processes may then still
be lost, so each topic should have one publisher, who looks after his heads (`ours.py`).
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from agentmesh.card import AgentCard, card_digest, read_card, write_card
from agentmesh.errors import Conflict, MeshError, PayloadCorrupt, PayloadTooLarge, RegistryUnavailable, TopicNotFound
from agentmesh.ids import new_token
from agentmesh.registry.nacos.configs import Configs
from agentmesh.registry.nacos.heads import Head, read_head, write_head
from agentmesh.registry.nacos.names import SHARDS, card_id, encode, shard
from agentmesh.registry.nacos.refusals import Stale

CARDS: Final = "agentmesh.card"
HEADS: Final = "agentmesh.agent"
INDEX: Final = "agentmesh.index"
LARGEST: Final = 1_000_000
"""Characters of a card: what every server takes and gives back."""

_PROBES: Final = "agentmesh.probe"
_LAG: Final = 3.0
_LOOK: Final = 0.03
_EDITS: Final = 60


class Documents:
    """Cards, heads and the index. All methods raise `RegistryUnavailable` and `Unauthorized`."""

    def __init__(self, configs: Configs) -> None:
        self._configs = configs
        self._compares: bool | None = None
        self._probing = asyncio.Lock()
        self._pending: dict[str, dict[str, int]] = {}
        self._indexes: dict[str, str] = {}
        self._writing: dict[str, asyncio.Lock] = {name: asyncio.Lock() for name in SHARDS}

    async def probe(self) -> bool:
        """Whether the server compares and sets; asked once per connection. Raises `RegistryUnavailable` if it says that
        it stores what it is given, and does not.
        """
        async with self._probing:
            if self._compares is None:
                self._compares = await self._probe()
            return self._compares

    def forget_probe(self) -> None:
        """The server may be another one now."""
        self._compares = None

    async def index(self) -> dict[str, int]:
        """The `rev` of every topic. Raises `PayloadCorrupt` for a document that is somebody else's."""
        found: dict[str, int] = {}
        for each in await asyncio.gather(*(self.shard(name) for name in SHARDS)):
            found |= each
        return found

    async def shard(self, name: str) -> dict[str, int]:
        """The topics of one index document."""
        self._indexes[name] = await self._configs.get(INDEX, name)
        return _read_index(self._indexes[name], name)

    async def head(self, topic: str, rev: int = 0) -> Head | None:
        """The head of a topic; waits up to three seconds for `rev`. Raises `PayloadCorrupt`."""
        name = encode(topic)

        def new_enough(text: str) -> bool:
            return not rev or (bool(text) and read_head(text, f"{HEADS}/{name}").rev >= rev)

        text = await self._read_until(HEADS, name, new_enough)
        return read_head(text, f"{HEADS}/{name}") if text else None

    async def card(self, topic: str, version: str, sha: str) -> AgentCard | None:
        """The card with this digest; None if it is not there within three seconds. Raises `PayloadCorrupt`."""
        name = card_id(topic, version)
        text = await self._read_until(CARDS, name, lambda text: bool(text) and _digest(text, name) == sha)
        return read_card(text.encode()) if text and _digest(text, name) == sha else None

    async def put_card(self, topic: str, version: str, card: AgentCard) -> None:
        """Write a card. Raises `Conflict` if this version has another one, `PayloadTooLarge`."""
        name, text = card_id(topic, version), write_card(card).decode()
        if len(text) > LARGEST:
            raise PayloadTooLarge(
                f"The card of {topic} has {len(text):,} characters; Nacos keeps up to {LARGEST:,}. Shorten its schemas "
                "and examples."
            )
        compares = await self.probe()
        before = "" if compares else await self._configs.get(CARDS, name)
        if not before:
            try:
                await self._configs.put(CARDS, name, text, before="" if compares else None)
                return
            except Stale:
                before = await self._read_until(CARDS, name, bool)
        if before and _digest(before, name) != card_digest(card):
            raise Conflict(
                f"{topic} {version} is registered with another card. A card that changes needs a new version: "
                "give this agent one, or another topic."
            )

    async def keep_card(self, topic: str, version: str, card: AgentCard) -> None:
        """Have this card there: the head says that it is the one."""
        name = card_id(topic, version)
        text = await self._configs.get(CARDS, name)
        if not text or _digest(text, name) != card_digest(card):
            await self._configs.put(CARDS, name, write_card(card).decode())

    async def delete_cards(self, topic: str, versions: Mapping[str, object]) -> None:
        """Remove the cards of a topic."""
        await asyncio.gather(*(self._configs.delete(CARDS, card_id(topic, version)) for version in versions))

    async def edit(self, topic: str, change: Callable[[Head], Head | None], known: Head | None = None) -> Head:
        """Change the head of a topic and list it; returns the head as it is then. `known` is what it was when it was
        last seen, if it was. Raises what `change` raises, and `PayloadCorrupt`.
        """
        name = encode(topic)

        def changed(text: str) -> str | None:
            before = read_head(text, f"{HEADS}/{name}") if text else Head(topic)
            after = change(before)
            return write_head(after) if after else None

        text = await self._edit(HEADS, name, changed, write_head(known) if known else "")
        if not text:
            raise TopicNotFound(topic)
        head = read_head(text, f"{HEADS}/{name}")
        await self.list_topic(topic, head.rev)
        return head

    async def list_topic(self, topic: str, rev: int) -> None:
        """Have the index say this `rev`, or a later one. Those who come together share one edit."""
        name = shard(topic)
        waiting = self._pending.setdefault(name, {})
        waiting[topic] = max(rev, waiting.get(topic, 0))
        async with self._writing[name]:
            taken = self._pending.pop(name, {})
            if not taken:
                return
            try:
                known = self._indexes.get(name)
                self._indexes[name] = await self._edit(INDEX, name, lambda text: _with_revs(text, name, taken), known)
            except BaseException:
                later = self._pending.setdefault(name, {})
                self._pending[name] = {**taken, **later}
                raise

    async def _edit(self, group: str, name: str, change: Callable[[str], str | None], known: str | None) -> str:
        """The document after `change`, which gets its text (empty: there is none) and gives the new one or None."""
        compares = await self.probe()
        stale: str | None = None
        for attempt in range(_EDITS):
            after = None
            if known is not None and compares:  # a read less; whether it is still so, the server will say
                before, known = known, None
                with contextlib.suppress(MeshError):
                    after = change(before)
            if after is None:
                before = await self._read_until(group, name, _other_than(stale))
                after = change(before)
            if after is None:
                return before
            try:
                await self._configs.put(group, name, after, before=before if compares else None)
                if compares or await self._configs.get(group, name) == after:
                    return after
            except Stale:
                stale = before
                await asyncio.sleep(random.uniform(0, 0.03) * (1 + attempt / 4))  # noqa: S311 - to step aside
        raise Conflict(
            f"{group}/{name} in Nacos is changed by others all the time: {_EDITS} attempts did not go through."
        )

    async def _read_until(self, group: str, name: str, enough: Callable[[str], bool]) -> str:
        """The document, as soon as it is as it should be, or as it is after three seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _LAG
        while True:
            text = await self._configs.get(group, name)
            if enough(text) or loop.time() > end:
                return text
            await asyncio.sleep(_LOOK)

    async def _probe(self) -> bool:
        name = f"probe-{new_token().lower()}"
        await self._configs.put(_PROBES, name, "first")
        if await self._read_until(_PROBES, name, lambda text: text == "first") != "first":
            raise RegistryUnavailable(
                "Nacos says that it stored a document, and does not have it: its storage did not start. With r-nacos "
                "stop it, empty its data folder if nothing was stored in it yet, and start it again."
            )
        try:
            await self._configs.put(_PROBES, name, "second", before="another")
            return False
        except Stale:
            return True
        finally:
            await self._configs.delete(_PROBES, name)


def _other_than(stale: str | None) -> Callable[[str], bool]:
    """What a server that lags behind its own writes tells is not to be tried again."""
    return lambda text: text != stale


def _read_index(text: str, name: str) -> dict[str, int]:
    try:
        return msgspec.json.decode(text, type=dict[str, int]) if text else {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PayloadCorrupt(
            f"The document {INDEX}/{name} in Nacos is not agentmesh's: {error}. Remove it there, or use another "
            "namespace."
        ) from error


def _with_revs(text: str, name: str, revs: Mapping[str, int]) -> str | None:
    known = _read_index(text, name)
    later = {topic: rev for topic, rev in revs.items() if known.get(topic, 0) < rev}
    return msgspec.json.encode({**known, **later}, order="deterministic").decode() if later else None


def _digest(text: str, name: str) -> str:
    """Of the card in a document. Raises `PayloadCorrupt`."""
    try:
        return card_digest(read_card(text.encode()))
    except PayloadCorrupt as error:
        raise PayloadCorrupt(f"The document {CARDS}/{name} in Nacos: {error} Remove it there.") from error
