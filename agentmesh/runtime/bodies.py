"""Bodies: what is large goes to the blob store, and a claim in its place to the broker (Hohpe and Woolf, Enterprise
Integration Patterns, 2003: claim check).

The process that has a body puts it, then has the broker store the claim; whoever reads resolves the claim. The broker
never sees the bytes.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from agentmesh.clock import Clock
from agentmesh.contracts.blobs import Blobs
from agentmesh.errors import PayloadCorrupt, PayloadTooLarge
from agentmesh.fold import is_shaped
from agentmesh.message import (
    BODIES,
    OWN_TYPES,
    Claim,
    Draft,
    Entry,
    Event,
    Message,
    decode_data,
    encode_data,
    read_claim,
)

if TYPE_CHECKING:
    from agentmesh.contracts import Lease

Read = TypeVar("Read", Entry, Event)

HIGHEST: Final = 1_000_000_000
"""The largest body that any setting allows."""


class Parcel(msgspec.Struct, frozen=True):
    """The data of an entry that is to go to the blob store, encoded, with the facts that stay in its claim."""

    body: bytes
    facts: dict[str, Any] | None


class Bodies:
    """What a mesh does with bodies: those above `threshold` bytes go to `blobs`, those above `limit` nowhere."""

    def __init__(self, blobs: Blobs, clock: Clock, threshold: int, limit: int) -> None:
        self.threshold = threshold
        self._blobs = blobs
        self._clock = clock
        self._limit = limit

    async def sent(self, message: Message) -> Message:
        """The message as it is to be published. Raises `PayloadTooLarge`, and what `Blobs.put` raises."""
        if len(message.body) <= self.threshold:
            return message
        self._check_size("The input", len(message.body))
        claim = await self.put(message.tenant, message.body)
        return msgspec.structs.replace(message, body=b"", blob=str(claim))

    async def body(self, message: Message) -> bytes | bytearray:
        """The body of a message that was received. Raises `PayloadCorrupt`, and what `Blobs.open` raises."""
        return await self.get(message.tenant, read_claim(message.blob)) if message.blob else message.body

    def weighed(self, draft: Draft, lease: "Lease | None" = None) -> Draft:
        """The draft with its data encoded — ready to be appended, or as a parcel if it is large — and stamped with the
        lease that it is written under. Raises `PayloadCorrupt`, `PayloadTooLarge`.
        """
        kind, data = draft.type, draft.data
        attempt, token = (lease.attempt, lease.token) if lease else (draft.attempt, draft.token)
        raw = encode_data(kind, data)
        if len(raw) <= self.threshold:
            return Draft(kind, msgspec.Raw(raw), draft.id, attempt, token)
        return Draft(kind, self._parcel(kind, data, raw), draft.id, attempt, token)

    def _parcel(self, kind: str, data: Any, raw: bytes) -> Parcel | msgspec.Raw:
        self._check_size(f"The data of a {kind!r} entry", len(raw))
        if kind not in OWN_TYPES:
            return Parcel(raw, None)
        large = BODIES.get(kind)
        if large is None or not isinstance(data, dict) or large not in data:
            return msgspec.Raw(raw)  # the fold reads it: it stays, or is refused by the broker
        facts = {key: value for key, value in data.items() if key != large}
        return Parcel(encode_data(kind, data[large]), facts)

    async def written(self, tenant: str, drafts: Iterable[Draft], lease: "Lease | None" = None) -> list[Draft]:
        """The drafts as they are to be appended. What is large is stored when this returns. Raises as `weighed`, and
        what `Blobs.put` raises.
        """
        weighed = [self.weighed(draft, lease) for draft in drafts]
        return [draft if type(draft.data) is msgspec.Raw else await self.stored(tenant, draft) for draft in weighed]

    async def stored(self, tenant: str, draft: Draft) -> Draft:
        """A weighed draft as it is to be appended: a claim instead of a parcel. Raises what `Blobs.put` raises."""
        parcel = draft.data
        if type(parcel) is not Parcel:
            return draft
        claim = await self.put(tenant, parcel.body)
        return msgspec.structs.replace(draft, data=Claim(claim.digest, claim.size, parcel.facts))

    async def resolved(self, tenant: str, read: Read) -> Read:
        """The entry or event with its data. Raises `PayloadCorrupt`, and what `Blobs.open` raises."""
        if type(read.data) is not Claim:
            return read
        try:
            data = await self.data(tenant, read.type, read.data)
        except PayloadCorrupt as error:
            raise PayloadCorrupt(f"Offset {read.offset}: {error}") from error
        return msgspec.structs.replace(read, data=data)

    async def data(self, tenant: str, kind: str, data: Any) -> Any:
        """As `resolved`, of the data of an entry of that type."""
        if type(data) is not Claim:
            return data
        found = decode_data(await self.get(tenant, data))
        if data.facts is not None and kind in BODIES:
            found = data.facts | {BODIES[kind]: found}
        if not is_shaped(kind, found):
            raise PayloadCorrupt(f"Blob {data.digest} does not hold the data of a {kind!r} entry.")
        return found

    async def all_resolved(self, tenant: str, entries: Sequence[Entry]) -> Sequence[Entry]:
        """As `resolved`, of many."""
        if not any(type(entry.data) is Claim for entry in entries):
            return entries
        return [await self.resolved(tenant, entry) for entry in entries]

    async def put(self, tenant: str, body: bytes) -> Claim:
        """Store a body for this tenant."""
        return await asyncio.to_thread(self._put, tenant, body)

    async def get(self, tenant: str, claim: Claim) -> bytearray:
        """The body that is claimed, checked. Raises `PayloadCorrupt` if it is not there, not whole, altered, or another
        tenant's.
        """
        return await asyncio.to_thread(self._get, tenant, claim)

    def _put(self, tenant: str, body: bytes) -> Claim:
        state = self._blobs.hash(tenant)
        state.update(body)
        digest = state.hexdigest()
        self._blobs.put(digest, body, self._clock.now())
        return Claim(digest, len(body))

    def _get(self, tenant: str, claim: Claim) -> bytearray:
        if claim.size > HIGHEST:
            raise PayloadCorrupt(f"Blob {claim.digest} of {claim.size} bytes: no body may have more than {HIGHEST}.")
        state = self._blobs.hash(tenant)
        body = bytearray()
        for piece in self._blobs.open(claim.digest):
            state.update(piece)
            body += piece
            if len(body) > claim.size:
                break
        if len(body) != claim.size:
            found = f"more than {claim.size}" if len(body) > claim.size else str(len(body))
            raise PayloadCorrupt(
                f"Blob {claim.digest} has {found} bytes, and {claim.size} were put: it was truncated or altered. "
                "Send the body again."
            )
        if state.hexdigest() != claim.digest:
            raise PayloadCorrupt(
                f"Blob {claim.digest} of {claim.size} bytes holds something else: its digest is {state.hexdigest()}. "
                "It was altered, or is another tenant's. Send the body again."
            )
        return body

    def _check_size(self, what: str, size: int) -> None:
        if size > self._limit:
            raise PayloadTooLarge(
                f"{what} has {size:,} bytes, and {self._limit:,} is the limit. Send a reference to it instead, "
                "or raise `blob_limit`."
            )
