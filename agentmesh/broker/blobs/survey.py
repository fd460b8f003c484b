"""What is in the blob store, and what ought to be: for `agentmesh doctor`."""

from collections.abc import Mapping

import msgspec

from agentmesh.contracts.blobs import Blobs

_FEW: int = 5


class BlobSurvey(msgspec.Struct, frozen=True):
    """Files and bytes that are there; how many of the files are `strangers`, to which nothing refers yet, or any more;
    digests whose file is `missing`, and those whose file has another size.
    """

    count: int
    bytes: int
    strangers: int
    missing: list[str]
    damaged: list[str]

    def facts(self) -> dict[str, str | int | float]:
        """As `Health.facts`."""
        return {"blobs": self.count, "blob bytes": self.bytes, "blobs without owner": self.strangers}

    def problems(self) -> list[str]:
        """As `Health.problems`."""
        found = []
        for what, digests in (("missing", self.missing), ("cut or grown", self.damaged)):
            if digests:
                named = ", ".join(digests[:_FEW]) + (", …" if len(digests) > _FEW else "")
                found.append(
                    f"{len(digests)} large bodies are {what}: {named}. Calls that need them fail, naming them; sending "
                    "the same body again mends it, and so does bringing back the file."
                )
        return found


def survey(blobs: Blobs, known: Mapping[str, int]) -> BlobSurvey:
    """Look at all files, beside the digests and sizes that the rows know. For a thread; reads no content."""
    count = total = strangers = 0
    unseen = dict(known)
    damaged = []
    for blob in blobs.list():
        count, total = count + 1, total + blob.size
        size = unseen.pop(blob.digest, None)
        if size is None:
            strangers += 1
        elif size != blob.size:
            damaged.append(blob.digest)
    return BlobSurvey(count, total, strangers, sorted(unseen), sorted(damaged))
