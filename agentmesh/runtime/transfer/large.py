"""Large bodies on their way from one blob store to another: their digests are keyed, so each mesh has its own."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from agentmesh.contracts import Blobs
from agentmesh.errors import PayloadCorrupt
from agentmesh.message import DEFAULT_TENANT, Claim, Draft, Entry, Message, read_claim
from agentmesh.runtime.transfer.records import BlobRecord

_PIECE: Final = 1_000_000


class Outgoing:
    """Bodies of a mesh, each told once. `tenants` are those that are known: a digest tells whose a body is."""

    def __init__(self, blobs: Blobs, sent: set[str]) -> None:
        self._blobs = blobs
        self._sent = sent
        self.tenants: dict[str, None] = {DEFAULT_TENANT: None}

    def knows(self, tenant: str) -> None:
        """There is this tenant."""
        if tenant:
            self.tenants.setdefault(tenant)

    async def of_message(self, message: Message) -> AsyncIterator[BlobRecord]:
        """The body of a message, if it lies in the blob store. Raises `PayloadCorrupt` if it is gone or damaged."""
        self.knows(message.tenant)
        if message.blob:
            async for record in self.records(message.tenant, read_claim(message.blob)):
                yield record

    async def of_entry(self, tenant: str, entry: Entry) -> AsyncIterator[BlobRecord]:
        """The body that an entry refers to. As `of_message`; the input that `submitted` names may be gone."""
        if type(entry.data) is Claim:
            async for record in self.records(tenant, entry.data):
                yield record
        elif claim := input_of(entry):
            try:
                async for record in self.records(tenant, claim):
                    yield record
            except PayloadCorrupt:
                return

    async def records(self, tenant: str, claim: Claim) -> AsyncIterator[BlobRecord]:
        """The body in pieces, unless it was told already."""
        if claim.digest in self._sent:
            return
        owner, body = await asyncio.to_thread(self._read, tenant, claim)
        for start in range(0, max(claim.size, 1), _PIECE):
            yield BlobRecord(claim.digest, owner, claim.size, start, bytes(body[start : start + _PIECE]))

    def _read(self, tenant: str, claim: Claim) -> tuple[str, bytearray]:
        """Whose body it is, and the body, checked."""
        body = bytearray()
        for piece in self._blobs.open(claim.digest):
            body += piece
            if len(body) > claim.size:
                break
        for each in dict.fromkeys([tenant, *self.tenants] if tenant else self.tenants):
            state = self._blobs.hash(each)
            state.update(memoryview(body))
            if state.hexdigest() == claim.digest and len(body) == claim.size:
                return each, body
        raise PayloadCorrupt(
            f"Blob {claim.digest} of {claim.size} bytes is damaged, or belongs to a tenant that nothing else tells of."
        )


class Incoming:
    """Bodies into a mesh: put when their last piece has come, and known by their old digests from then on."""

    def __init__(self, blobs: Blobs, now: int) -> None:
        self._blobs = blobs
        self._now = now
        self._digests: dict[str, str] = {}
        self._body = bytearray()

    async def take(self, record: BlobRecord) -> None:
        """A piece. Raises `PayloadCorrupt` if it does not follow the one before, and what `Blobs.put` raises."""
        if record.start == 0:
            self._body = bytearray()
        if record.start != len(self._body) or record.start + len(record.data) > record.size:
            raise PayloadCorrupt(f"Blob {record.digest} is not whole in the export: export it again.")
        self._body += record.data
        if len(self._body) == record.size:
            self._digests[record.digest] = await asyncio.to_thread(self._put, record.tenant)

    def _put(self, tenant: str) -> str:
        body, self._body = self._body, bytearray()
        state = self._blobs.hash(tenant)
        state.update(memoryview(body))
        digest = state.hexdigest()
        self._blobs.put(digest, memoryview(body), self._now)
        return digest

    def message(self, message: Message) -> Message:
        """The message with the body that it has here."""
        if not message.blob:
            return message
        return msgspec.structs.replace(message, blob=str(self._claim(read_claim(message.blob))))

    def draft(self, draft: Draft) -> Draft:
        """The draft with the body that it has here."""
        if type(draft.data) is Claim:
            return msgspec.structs.replace(draft, data=self._claim(draft.data))
        claim = input_of(draft)
        if claim and claim.digest in self._digests:
            return msgspec.structs.replace(draft, data={**draft.data, "digest": str(self._claim(claim))})
        return draft

    def _claim(self, claim: Claim) -> Claim:
        return Claim(self._digests.get(claim.digest, claim.digest), claim.size, claim.facts)


def input_of(entry: Entry | Draft) -> Claim | None:
    """The claim of a call's input, if `submitted` names one."""
    data: Any = entry.data
    if entry.type != "submitted" or not isinstance(data, dict) or ":" not in str(data.get("digest", "")):
        return None
    try:
        return read_claim(data["digest"])
    except (PayloadCorrupt, TypeError):
        return None
