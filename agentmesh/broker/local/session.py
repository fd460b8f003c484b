"""The host's side of one other process: its open requests, its last answers, and what belongs to it."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Protocol

import msgspec

from agentmesh.broker.embedded.store import Deposed
from agentmesh.broker.local.wire import MAX_RECORD, record, write_error
from agentmesh.clock import Timer
from agentmesh.contracts import Lease
from agentmesh.errors import PayloadCorrupt

_AGAIN: Final = 0.05
_replies = msgspec.msgpack.Decoder(dict[int, Any])


class Connected(Protocol):
    """A connection, as a session sees it."""

    def send(self, reply: bytes) -> None: ...

    def push(self, topics: Collection[str]) -> None: ...

    def cut(self) -> None: ...


class Session:
    """A process that is or was connected. It outlives its connections, so that what is sent again is done once.

    `replies` are the answers to writes that the client may not have seen; `noted` those of the turn that is about to be
    committed. A lease is remembered by its tokens.
    """

    def __init__(self, name: str, replies: bytes = b"") -> None:
        self.name = name
        self.connection: Connected | None = None
        self.replies: dict[int, Any] = _replies.decode(replies) if replies else {}
        self.noted: dict[int, Any] = {}
        self.open: dict[int, Answer | asyncio.Task[None]] = {}
        self.inboxes: set[str] = set()
        self.instances: set[str] = set()
        self.gone_at = 0

    def confirm(self, numbers: Sequence[int]) -> None:
        """The client has seen these answers."""
        for number in numbers:
            self.replies.pop(number, None)

    def keep(self, numbers: Sequence[int]) -> None:
        """These are all that the client still waits for."""
        self.replies = {number: self.replies[number] for number in numbers if number in self.replies}

    def row(self, now: int) -> tuple[str, bytes, int]:
        """The arguments of `upsert_client`."""
        return self.name, msgspec.msgpack.encode(self.replies | self.noted), now

    def answer(self, number: int, value: Any) -> None:
        """Tell the client, if it is there."""
        self.open.pop(number, None)
        if self.connection and number:
            reply = record((number, True, value))
            if len(reply) > MAX_RECORD:
                self.refuse(number, PayloadCorrupt(f"{len(reply):,} bytes at once: {MAX_RECORD:,} is the limit."))
            else:
                self.connection.send(reply)

    def refuse(self, number: int, error: BaseException) -> None:
        """Tell the client that it went wrong; what another host may still do is left to that one."""
        self.open.pop(number, None)
        if self.connection and number and not isinstance(error, Deposed):
            self.connection.send(record((number, False, write_error(error))))

    def writes(self) -> bool:
        """Whether something of it is about to be written."""
        return any(type(waiting) is Answer for waiting in self.open.values())

    def disconnect(self) -> None:
        """Nobody is there to hear. What waits is asked for again; what is to be written still is."""
        self.connection = None
        for number, waiting in list(self.open.items()):
            if isinstance(waiting, asyncio.Task):
                del self.open[number]
                waiting.cancel()
            elif isinstance(waiting, LeaseAnswer):
                waiting.give_up()


class Answer:
    """Who waits for a write: the request `number` of a session."""

    __slots__ = ("_done", "number", "session")

    def __init__(self, session: Session, number: int) -> None:
        self.session = session
        self.number = number
        self._done = False
        session.open[number] = self

    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return False

    def note(self, value: Any) -> None:
        """Its turn is about to be committed."""
        self.session.noted[self.number] = value

    def set_result(self, value: Any, /) -> None:
        self._done = True
        session, number = self.session, self.number
        if number in session.noted:
            session.replies[number] = session.noted.pop(number)
        session.answer(number, value)

    def set_exception(self, error: Any, /) -> None:
        self._done = True
        self.session.noted.pop(self.number, None)
        self.session.refuse(self.number, error)


class LeaseAnswer(Answer):
    """Who waits for leases. `encode` makes them ready for their way, `withdraw` takes the request back."""

    __slots__ = ("encode", "timer", "withdraw")

    def __init__(
        self,
        session: Session,
        number: int,
        encode: Callable[[Sequence[Lease]], Any],
    ) -> None:
        super().__init__(session, number)
        self.encode = encode
        self.timer: Timer | None = None
        self.withdraw: Callable[[], None] = _nothing

    def set_result(self, value: Any, /) -> None:
        self._end()
        super().set_result(self.encode(value))

    def set_exception(self, error: Any, /) -> None:
        self._end()
        super().set_exception(error)

    @property
    def is_granted(self) -> bool:
        """Whether its leases are in a turn that is being committed: then they are told whatever happens."""
        return self.number in self.session.noted

    def let_go(self) -> None:
        """It waited long enough."""
        if self.is_granted:  # the commit may still fail
            asyncio.get_running_loop().call_later(_AGAIN, self.let_go)
        elif not self._done:
            self.set_result(())

    def give_up(self) -> None:
        """Nobody asks any more. Leases that are granted in this turn are remembered all the same."""
        if not self._done and not self.is_granted:
            self._end()
            self._done = True
            self.session.open.pop(self.number, None)

    def _end(self) -> None:
        self.withdraw()
        if self.timer:
            self.timer.cancel()


class TurnAnswer:
    """Waits for one turn, then lets a request for leases go that got nothing."""

    def __init__(self, lease: LeaseAnswer) -> None:
        self._lease = lease

    def done(self) -> bool:
        return self._lease.done()

    def cancelled(self) -> bool:
        return self._lease.done()

    def set_result(self, _: Any, /) -> None:
        asyncio.get_running_loop().call_soon(self._lease.let_go)  # leases are told after this

    def set_exception(self, error: Any, /) -> None:
        if not self._lease.done():
            self._lease.set_exception(error)


def _nothing() -> None:
    """Nothing to take back."""
