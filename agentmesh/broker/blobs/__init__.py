"""Where large bodies lie.

place.py    which store a mesh has, and its secret: `DIR/blobs.json`
folder.py   a folder on this machine
remote.py   anything that fsspec knows a URL for
memory.py   this process, for `memory://`
survey.py   what is there and what is missing, for `agentmesh doctor`
"""

from agentmesh.broker.blobs.memory import MemoryBlobs
from agentmesh.broker.blobs.place import LocalBlobs, remote_blobs, shared_blobs

__all__ = ["LocalBlobs", "MemoryBlobs", "remote_blobs", "shared_blobs"]
