"""For the tests of agents and of programs that use agentmesh."""

from agentmesh.testing.model import Calls, Close, HalfStream, Hang, Item, ModelServer, Raw, Request, Text

__all__ = ["Calls", "Close", "HalfStream", "Hang", "Item", "ModelServer", "Raw", "Request", "Text"]
