"""For the tests of agents and of programs that use agentmesh.

model.py     ModelServer: a language model that plays a script, behind a real OpenAI-compatible endpoint
mesh.py      open_mesh: a mesh for one test
fixtures.py  fixtures for pytest, to be named in pytest_plugins
"""

from agentmesh.clock import ManualClock
from agentmesh.testing.mesh import open_mesh
from agentmesh.testing.model import Calls, Close, HalfStream, Hang, Item, ModelServer, Raw, Request, Text

__all__ = [
    "Calls",
    "Close",
    "HalfStream",
    "Hang",
    "Item",
    "ManualClock",
    "ModelServer",
    "Raw",
    "Request",
    "Text",
    "open_mesh",
]
