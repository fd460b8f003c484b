"""What a client may ask the host for: the table of operations, with the types of their arguments."""

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec

from agentmesh.broker.local.operations import Operations
from agentmesh.broker.local.wire import Appends, Rubbish, decoder
from agentmesh.contracts import Delivery, Tenant

Natural = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""What the store can hold: one that cannot be written would fail the turn of others too."""


class Operation:
    """An operation: how its arguments are read, and the method of `Operations` that does it."""

    def __init__(self, kind: Any, run: Callable[..., None]) -> None:
        self._decoder = decoder(kind)
        self.run = run

    def read(self, raw: msgspec.Raw) -> tuple[Any, ...]:
        """The arguments. Raises `Rubbish`."""
        try:
            return self._decoder.decode(raw)  # type: ignore[no-any-return]
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise Rubbish(f"Arguments that are none: {error}.") from error


Publishes = list[bytes]
OPERATIONS: Final = {
    "publish": Operation(tuple[bytes], Operations.publish),
    "ack": Operation(tuple[str, int, str, Appends, Publishes], Operations.ack),
    "nack": Operation(tuple[str, int, str, str, Natural, str, Publishes], Operations.nack),
    "append": Operation(
        tuple[str, list[tuple[str, str, bytes]], int | None, tuple[str, int, str] | None, str], Operations.append
    ),
    "lease": Operation(tuple[list[str], int, float, str, list[str]], Operations.lease),
    "cancel": Operation(tuple[int], Operations.cancel),
    "keep": Operation(tuple[list[int]], Operations.keep),
    "here": Operation(tuple[()], Operations.here),
    "claim": Operation(tuple[list[str]], Operations.claim),
    "extend": Operation(tuple[str, list[str], float], Operations.extend),
    "declare": Operation(tuple[str, Delivery | None], Operations.declare),
    "stats": Operation(tuple[list[str]], Operations.stats),
    "browse": Operation(tuple[str, int, int, bool], Operations.browse),
    "read": Operation(tuple[str, int, int, int], Operations.read),
    "list": Operation(tuple[str, str, int], Operations.list_logs),
    "subscribe": Operation(tuple[str, str, int | None, bool], Operations.subscribe),
    "unsubscribe": Operation(tuple[str, str], Operations.unsubscribe),
    "sync": Operation(tuple[str, dict[str, int | None]], Operations.sync),
    "poll": Operation(tuple[str, int, float], Operations.poll),
    "commit": Operation(tuple[str, dict[str, int]], Operations.commit),
    "close_inbox": Operation(tuple[str], Operations.close_inbox),
    "tenants": Operation(tuple[()], Operations.tenants),
    "set_tenant": Operation(tuple[Tenant], Operations.set_tenant),
    "discard": Operation(tuple[str, list[Natural], Publishes], Operations.discard),
    "health": Operation(tuple[()], Operations.health),
    "figures": Operation(tuple[()], Operations.figures),
    "register": Operation(tuple[str, str, bytes, str], Operations.register),
    "renew": Operation(tuple[str], Operations.renew),
    "remove": Operation(tuple[str, str], Operations.remove),
    "route": Operation(tuple[str, dict[str, Natural] | None], Operations.route),
    "registration": Operation(tuple[str, str], Operations.registration),
    "registrations": Operation(tuple[str, bool], Operations.registrations),
    "cards": Operation(tuple[list[tuple[str, str]]], Operations.cards),
    "ping": Operation(tuple[()], Operations.ping),
    "bye": Operation(tuple[()], Operations.bye),
}
