"""InterestSet: which client reads which LiteTopics."""

from collections.abc import Collection, Iterable


class InterestSet:
    """A relation of clients and LiteTopics, kept from both sides. An exclusive interest drives the others out."""

    def __init__(self) -> None:
        self._clients: dict[str, set[str]] = {}
        self._names: dict[str, set[str]] = {}
        self._exclusive: dict[str, str] = {}

    def add(self, client: str, name: str, *, exclusive: bool = False) -> list[str]:
        """Let `client` read `name`; returns the clients that lost it.

        The newest exclusive subscriber wins over all; a shared newcomer takes an exclusive name over as well.
        """
        clients = self._clients.setdefault(name, set())
        owner = self._exclusive.pop(name, None)
        losers = [other for other in clients if other != client and (exclusive or other == owner)]
        for loser in losers:
            self._unlink(loser, name)
        if exclusive:
            self._exclusive[name] = client
        self._clients.setdefault(name, set()).add(client)
        self._names.setdefault(client, set()).add(name)
        return losers

    def remove(self, client: str, name: str) -> bool:
        """Take the interest away; False if there was none."""
        if name not in self._names.get(client, ()):
            return False
        if self._exclusive.get(name) == client:
            del self._exclusive[name]
        self._unlink(client, name)
        return True

    def drop(self, client: str) -> None:
        """Forget a client."""
        for name in tuple(self._names.get(client, ())):
            self.remove(client, name)

    def clients(self, name: str) -> Collection[str]:
        """Who reads `name`."""
        return self._clients.get(name, ())

    def names(self, client: str) -> Collection[str]:
        """What `client` reads."""
        return self._names.get(client, ())

    def missing(self, client: str, names: Iterable[str]) -> list[str]:
        """What `client` reads now and would not with `names` as its whole set."""
        wanted = set(names)
        return [name for name in self.names(client) if name not in wanted]

    def _unlink(self, client: str, name: str) -> None:
        for table, key, value in ((self._clients, name, client), (self._names, client, name)):
            table[key].discard(value)
            if not table[key]:
                del table[key]
