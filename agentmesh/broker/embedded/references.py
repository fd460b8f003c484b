"""References to blobs, counted in the transaction of the row that refers.

A reference belongs to the LiteTopic whose message or entry holds it, by number, and goes when that LiteTopic's time is
over. A dead letter outlives its log: it has references of its own, under its position, negated.
"""

from typing import Final

from agentmesh.broker.embedded.store import Changes, Store
from agentmesh.errors import PayloadCorrupt
from agentmesh.message import CLAIM_VERSION, Claim, decode_claim, read_claim

_CLAIM: Final = bytes([CLAIM_VERSION])
_ROWS: Final = 2


def refer(owner: int, claim: Claim, changes: Changes) -> None:
    """The owner refers to the blob from this transaction on."""
    changes.insert_blob.append((claim.digest, claim.size))
    changes.insert_blob_reference.append((owner, claim.digest))
    changes.rows += _ROWS


def refer_to_body(owner: int, blob: str, changes: Changes) -> None:
    """As `refer`, for `Message.blob`, if it has one."""
    if blob:
        refer(owner, read_claim(blob), changes)


def refer_to_data(owner: int, content: bytes, changes: Changes) -> None:
    """As `refer`, for the content of an entry, if it is a claim. One that cannot be read refers to nothing."""
    if content[:1] != _CLAIM:
        return
    try:
        claim = decode_claim(content)[3]
    except PayloadCorrupt:
        return
    refer(owner, claim, changes)


def release(owner: int, store: Store, now: int, changes: Changes, limit: int = 1000) -> tuple[int, bool]:
    """Take away up to `limit` references of the owner: how many, and whether no others are left."""
    found = store.query("blob_references", owner, limit)
    for (digest,) in found:
        changes.delete_blob_reference.append((owner, digest))
        changes.release_blob.append((max(now, 1), digest))
    changes.rows += _ROWS * len(found)
    return len(found), len(found) < limit
