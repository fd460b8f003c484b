"""Who a new host expects back: until they have told what they have, it says of nobody that he is gone."""

import asyncio
from collections.abc import Iterable
from typing import Final

_GRACE: Final = 2.0
"""How long (s) it is waited for them."""


class Returning:
    """The processes that were there with the host before."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)
        self._all: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._names:
            asyncio.get_running_loop().call_later(_GRACE, self._over)
        else:
            self._over()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def arrived(self, name: str) -> None:
        """That process is back, or will not come."""
        self._names.discard(name)
        if not self._names:
            self._over()

    async def wait(self) -> None:
        """Until all are back, or it has been long enough."""
        if not self._all.done():
            await asyncio.shield(self._all)

    def _over(self) -> None:
        if not self._all.done():
            self._all.set_result(None)
