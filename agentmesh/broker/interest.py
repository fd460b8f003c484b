"""InterestSet: which client reads which LiteTopics."""

from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

from agentmesh.broker.sharded import Sharded

C = TypeVar("C", bound=Hashable)


class InterestSet(Generic[C]):
    """A relation of clients and LiteTopics, kept from both sides. An exclusive interest drives the others out.

    A client is anything but a set.
    """

    def __init__(self) -> None:
        self._clients: Sharded[C | set[C]] = Sharded()  # most have one reader, which needs no set
        self._names: dict[C, Sharded[None]] = {}
        self._exclusive: dict[str, C] = {}

    def add(self, client: C, name: str, *, exclusive: bool = False) -> list[C]:
        """Let `client` read `name`; returns the clients that lost it.

        The newest exclusive subscriber wins over all; a shared newcomer takes an exclusive name over as well.
        """
        owner = self._exclusive.pop(name, None)
        losers = []
        if exclusive or owner is not None:
            losers = [other for other in self.clients(name) if other != client and (exclusive or other == owner)]
        for loser in losers:
            self._unlink(loser, name)
        if exclusive:
            self._exclusive[name] = client
        self._link(client, name)
        return losers

    def remove(self, client: C, name: str) -> bool:
        """Take the interest away; False if there was none."""
        if name not in self._names.get(client, ()):
            return False
        if self._exclusive.get(name) == client:
            del self._exclusive[name]
        self._unlink(client, name)
        return True

    def drop(self, client: C, limit: int) -> dict[str, bool]:
        """Take away up to `limit` of what `client` reads: name → whether it was exclusive."""
        names = self._names.get(client)
        dropped: dict[str, bool] = {}
        while names and len(dropped) < limit:
            name, _ = names.popitem()
            dropped[name] = self._exclusive.get(name) == client
            if dropped[name]:
                del self._exclusive[name]
            self._leave(client, name)
        if not names:
            self._names.pop(client, None)
        return dropped

    def is_exclusive(self, name: str) -> bool:
        """Whether one client has it for itself alone."""
        return name in self._exclusive

    def clients(self, name: str) -> Collection[C]:
        """Who reads `name`."""
        readers = self._clients.get(name)
        if readers is None:
            return ()
        return readers if isinstance(readers, set) else (readers,)

    def names(self, client: C) -> Collection[str]:
        """What `client` reads; it may change meanwhile."""
        return self._names.get(client, ())

    def _link(self, client: C, name: str) -> None:
        readers = self._clients.get(name)
        if readers is None:
            self._clients[name] = client
        elif isinstance(readers, set):
            readers.add(client)
        elif readers != client:
            self._clients[name] = {readers, client}
        names = self._names.get(client)
        if names is None:
            names = self._names[client] = Sharded()
        names[name] = None

    def _unlink(self, client: C, name: str) -> None:
        self._leave(client, name)
        names = self._names[client]
        names.pop(name)
        if not names:
            del self._names[client]

    def _leave(self, client: C, name: str) -> None:
        readers = self._clients[name]
        if isinstance(readers, set) and len(readers) > 1:
            readers.discard(client)
        else:
            self._clients.pop(name)
