"""Breaking the mesh on purpose, so that a drill can show that it would notice.

Each sabotage takes away one of the things that the promises stand on, by replacing methods in this process. Only
`agentmesh host` and the processes of a drill look at the variable that asks for it.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any, Final

VARIABLE: Final = "AGENTMESH_SABOTAGE"
_LATE: Final = 0.04


def commit() -> str:
    """Do what the environment asks for, in this process; what that is, or nothing."""
    name = os.environ.get(VARIABLE, "")
    if name:
        SABOTAGES[name]()
    return name


def _ack_first() -> None:
    """A worker removes the task before its handler has run."""
    from agentmesh.message import Draft
    from agentmesh.runtime.attempt import Attempt
    from agentmesh.runtime.worker import Worker

    run, stop = Worker._attempt, Attempt.stop

    async def attempt(self: Worker, attempt: Attempt) -> Any:
        await self._client.broker.ack(attempt.lease)
        return await run(self, attempt)

    async def write(self: Attempt, drafts: Sequence[Draft]) -> None:
        await self.client.broker.append(self.message.log, [_stamped(self, draft) for draft in drafts])

    async def write_end(self: Worker, attempt: Attempt, verdict: Any) -> None:
        if verdict is not None:
            failed = Draft("failed", {"error": "Retryable", "message": "there is no task to try again"})
            end = verdict if isinstance(verdict, Draft) else failed
            await self._client.broker.append(attempt.message.log, [_stamped(attempt, end)])

    def _stamped(attempt: Attempt, draft: Draft) -> Draft:
        return Draft(draft.type, draft.data, draft.id, attempt=attempt.lease.attempt, token=attempt.lease.token)

    _replace(Worker, _attempt=attempt, _write_end=write_end)
    _replace(Attempt, write=write, stop=lambda self, reason: None if reason == "lost" else stop(self, reason))


def _no_fence() -> None:
    """Who has lost a lease may go on as if nothing had happened, for the broker and for the fold."""
    import msgspec

    from agentmesh.broker.embedded.broker import EmbeddedBroker
    from agentmesh.broker.embedded.state import State
    from agentmesh.errors import LeaseLost
    from agentmesh.fold import CallState

    ack, append, extend, tell, counts = (
        State.ack,
        State.append,
        EmbeddedBroker.extend,
        EmbeddedBroker._tell,
        CallState._counts,
    )

    def ack_late(self: State, lease: Any, appends: Any, publishes: Any) -> None:
        try:
            ack(self, lease, appends, publishes)
        except LeaseLost:
            for name, _, entries in appends:
                self._write_all(name, entries)
            for message, raw in publishes:
                self.publish(message, raw)

    def append_late(self: State, name: str, entries: Any, expect: Any, lease: Any, title: str) -> int:
        try:
            return append(self, name, entries, expect, lease, title)
        except LeaseLost:
            return append(self, name, entries, expect, None, title)

    async def extend_any(self: EmbeddedBroker, worker: str, tokens: Sequence[str], wait: float) -> Any:
        held = [token for token in tokens if token in self.state.tasks.by_token]
        return await extend(self, worker, held, wait)

    def tell_nobody(self: EmbeddedBroker) -> None:
        self.state.news = [each for each in self.state.news if each[2] != "lost"]
        tell(self)

    def count(self: CallState, entry: Any) -> bool:
        if entry.token and entry.type != "accepted":
            entry = msgspec.structs.replace(entry, token=self.token)
        return counts(self, entry)

    _replace(State, ack=ack_late, append=append_late)
    _replace(EmbeddedBroker, extend=extend_any, _tell=tell_nobody)
    _replace(CallState, _counts=count)


def _no_dedupe() -> None:
    """A message whose id is known makes another task, and a request that is sent again is done again."""
    from agentmesh.broker.embedded.state import State
    from agentmesh.broker.embedded.tasks import Tasks
    from agentmesh.broker.local.host import Host
    from agentmesh.broker.local.session import Answer

    publish, clear, request = State.publish, Tasks._clear, Host.request

    def publish_again(self: State, message: Any, raw: bytes) -> bool:
        if self.logs.find(message.log) is None:
            return publish(self, message, raw)
        task = self.tasks.add(message, self.now)
        self.changes.insert_task.append((task.position, message.topic, message.not_before, raw))
        self.changes.grow(1, len(raw))
        self.offers[message.topic] = None
        return True

    def clear_all(self: Tasks) -> None:
        clear(self)
        self.by_log = _Forgiving()

    def do_again(self: Host, session: Any, raw: bytes) -> None:
        session.replies.clear()
        for number in [number for number, waiting in session.open.items() if type(waiting) is Answer]:
            del session.open[number]
        request(self, session, raw)

    _replace(State, publish=publish_again)
    _replace(Tasks, _clear=clear_all)
    _replace(Host, request=do_again)


class _Forgiving(dict[str, Any]):
    """Several tasks of one log may end."""

    def __delitem__(self, key: str) -> None:
        self.pop(key, None)


def _early_wake() -> None:
    """Everybody is told what happened some time before it is stored."""
    from agentmesh.broker.embedded.store import Changes, Store
    from agentmesh.errors import BrokerUnavailable

    store, end = Store.commit, Store.close
    late: list[Changes] = []

    def flush(self: Store) -> None:
        waiting, late[:] = late[:], []
        for changes in waiting:
            try:
                store(self, changes)
            except BrokerUnavailable:
                continue  # nobody is left to be told

    def commit_later(self: Store, changes: Changes) -> None:
        if not late:
            asyncio.get_running_loop().call_later(_LATE, flush, self)
        late.append(changes)

    def close(self: Store, *, handing_over: bool = False) -> None:
        flush(self)
        end(self, handing_over=handing_over)

    _replace(Store, commit=commit_later, close=close)


def _no_epoch() -> None:
    """A host that was replaced goes on writing."""
    from agentmesh.broker.embedded.store import SQL, Changes, Store
    from agentmesh.broker.local.folder import Lock

    store = Store.commit

    def commit_always(self: Store, changes: Changes) -> None:
        self._epoch = self._db.execute(SQL["epoch"]).fetchone()
        store(self, changes)

    _replace(Store, commit=commit_always)
    _replace(Lock, is_of=lambda *_: True)


def _replace(kind: type, **methods: Callable[..., Any]) -> None:
    for name, method in methods.items():
        assert hasattr(kind, name), f"{kind.__name__}.{name} is not there to be sabotaged"
        setattr(kind, name, method)


SABOTAGES: Final[dict[str, Callable[[], None]]] = {
    "ack-first": _ack_first,
    "no-fence": _no_fence,
    "no-dedupe": _no_dedupe,
    "early-wake": _early_wake,
    "no-epoch": _no_epoch,
}
