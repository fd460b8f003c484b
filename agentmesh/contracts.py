"""What every implementation must do: queue, log and inbox of a broker, registry, planner, model, embedder.

`Broker` is `Queue` and `Log` in one object because an ack spans both. All times in signatures are seconds when they are
waits and milliseconds UTC when they are points in time. Every method raises `BrokerUnavailable` (`RegistryUnavailable`)
when the backend cannot be reached or written to; what raised was not stored, unless its docstring says otherwise.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from agentmesh.message import Draft, Entry, Message

if TYPE_CHECKING:
    from agentmesh.card import AgentCard


class Retry(msgspec.Struct, frozen=True):
    """When a task gets another attempt; times in seconds.

    `lost`: attempts whose worker died or lost its lease (0: no limit). `attempts`: attempts that raised an error named
    in `on`, or `Retryable`. The n-th back-off is `backoff` × 2ⁿ⁻¹, at most `max`.
    """

    lost: int = 3
    on: tuple[str, ...] = ()
    attempts: int = 3
    backoff: float = 1.0
    max: float = 60.0


class Delivery(msgspec.Struct, frozen=True):
    """How a topic's tasks are handed out; times in seconds.

    `concurrency`: handlers at once in one worker. `timeout`: of one attempt, waiting in `ctx.call` and `ctx.ask` not
    counted (0: none). `lease`: how long a silent worker keeps a task.
    """

    concurrency: int = 8
    timeout: float = 600.0
    lease: float = 30.0
    retry: Retry = Retry()


class Lease(msgspec.Struct, frozen=True):
    """A message handed to one worker. `attempt` counts from 1; `raised` of the earlier attempts ended in an error that
    is retried. `expires` (ms) moves with every `extend`.
    """

    message: Message
    token: str
    attempt: int
    raised: int
    expires: int


class Append(msgspec.Struct, frozen=True):
    """Entries for one LiteTopic, written together or not at all."""

    lite_topic: str
    entries: Sequence[Draft]
    expect: int | None = None


class TopicStats(msgspec.Struct, frozen=True):
    """`waiting` (delayed ones too), `running` and `dead` messages; `oldest` is when the first waiting one was made
    (ms).
    """

    topic: str
    waiting: int
    running: int
    dead: int
    oldest: int | None


class Stored(msgspec.Struct, frozen=True):
    """A message at rest, for `browse`. `reason` is set on dead letters; `position` pages."""

    position: int
    message: Message
    attempt: int
    state: Literal["waiting", "running", "dead"]
    reason: str = ""


class LogInfo(msgspec.Struct, frozen=True):
    """A LiteTopic in a listing. `title` is the readable name of a log of one's own; `next` the offset of its next
    entry.
    """

    lite_topic: str
    title: str
    next: int
    created: int
    touched: int


class Queue(Protocol):
    """The topics: work queues, one per agent."""

    async def declare(self, topic: str, delivery: Delivery | None) -> None:
        """Make the topic, or change how it delivers; `None` removes it and the tasks that wait in it."""
        ...

    async def publish(self, message: Message) -> bool:
        """Store the task and, with it, entry 0 (`submitted`) of its log. False if the id was known: nothing happened.

        Raises `TopicNotFound`, and `Conflict` for a known id with another topic, skill or body.
        """
        ...

    async def lease(
        self, topics: Sequence[str], limit: int, wait: float, *, worker: str, lanes: Sequence[str] = ()
    ) -> Sequence[Lease]:
        """Up to `limit` messages for `worker`, as soon as there is one; nothing after `wait` seconds.

        Messages without a lane go to any worker, those with one only to workers that name it in `lanes`. Attempt,
        token and `accepted` are stored before this returns. Messages that are cancelled or past their deadline are
        never handed out.
        """
        ...

    async def extend(
        self, worker: str, tokens: Sequence[str], wait: float
    ) -> Mapping[str, Literal["cancelled", "lost"]]:
        """Renew the leases, then wait up to `wait` seconds for bad news of any lease that `worker` holds.

        Returns at once when there is news: the tokens of calls that were cancelled, and of leases that are no longer
        held.
        """
        ...

    async def ack(
        self,
        lease: Lease,
        appends: Sequence[Append] = (),
        publishes: Sequence[Message] = (),
        expect: int | None = None,
    ) -> None:
        """Remove the message, append and publish, all in one transaction. Raises `LeaseLost`, `Conflict`.

        `expect` is the offset at which the first of `appends` must begin.
        """
        ...

    async def nack(
        self,
        lease: Lease,
        *,
        error: str = "",
        not_before: int = 0,
        dead: str = "",
        publishes: Sequence[Message] = (),
    ) -> None:
        """Give the message back. Raises `LeaseLost`.

        With `error` the attempt raised: `retrying` is appended and the message waits until `not_before`. With `dead`
        (the reason) it goes to the dead letters instead and `dead_lettered` is appended. With neither, the worker
        merely did not get to it: the attempt counts neither as raised nor as lost.
        """
        ...

    async def stats(self, topics: Sequence[str] = ()) -> Sequence[TopicStats]:
        """Counts of these topics, or of all, by name."""
        ...

    async def browse(self, topic: str, after: int = 0, limit: int = 100, *, dead: bool = False) -> Sequence[Stored]:
        """Messages of the topic without leasing them, by position; `after` is exclusive. Raises `TopicNotFound`."""
        ...


class Log(Protocol):
    """The LiteTopics: ordered logs, made by their first append."""

    async def append(
        self,
        lite_topic: str,
        entries: Sequence[Draft],
        *,
        expect: int | None = None,
        lease: Lease | None = None,
        title: str = "",
    ) -> int:
        """Append all or nothing; returns the offset of the first entry (an entry whose id is there keeps its own).

        Raises `Conflict` if `expect` is not the log's next offset, `LeaseLost` if `lease` is not held any more, and
        `PayloadCorrupt` for data that is not JSON. `title` is kept from the first append.
        """
        ...

    async def read(
        self, lite_topic: str, after: int = -1, limit: int = 1000, since: int | None = None
    ) -> Sequence[Entry]:
        """Committed entries in order, past the offset `after` and not older than `since` (ms). A log that is not there
        is empty.
        """
        ...

    async def list(self, prefix: str = "", after: str = "", limit: int = 100) -> Sequence[LogInfo]:
        """LiteTopics whose name begins with `prefix`, by name, past the name `after`."""
        ...

    def inbox(self, client: str) -> "Inbox":
        """The inbox of that name; asking again returns the same."""
        ...


class Broker(Queue, Log, Protocol):
    """Both in one, because an ack spans them."""

    async def close(self) -> None:
        """Finish what was asked for and let go of the store. Calls after it raise `BrokerUnavailable`."""
        ...


class Batch(msgspec.Struct, frozen=True):
    """What a poll brings of one LiteTopic: entries in order, or that an exclusive subscription was `revoked`."""

    lite_topic: str
    entries: Sequence[Entry]
    revoked: bool = False


class Inbox(Protocol):
    """A client's own set of LiteTopics and the wake-up for exactly those that have something to read.

    The set is remembered while the client polls, and for three minutes of silence. It does not survive the broker's
    process: `sync` it again.
    """

    async def subscribe(self, lite_topic: str, after: int | None = None, exclusive: bool = False) -> None:
        """Add the LiteTopic, reading past `after` (`None`: past what this client committed, else from the start).

        Exclusive: the newest subscriber wins, the loser's poll returns `revoked`.
        """
        ...

    async def unsubscribe(self, lite_topic: str) -> None:
        """Take it out. What this client committed is kept for its last 10,000 LiteTopics, until it is forgotten."""
        ...

    async def sync(self, interests: Mapping[str, int | None]) -> None:
        """Make this the whole set: LiteTopic → `after`, as for `subscribe`."""
        ...

    async def poll(self, limit: int, wait: float) -> Sequence[Batch]:
        """Batches of up to `limit` ready LiteTopics, as soon as one is ready; nothing after `wait` seconds.

        A LiteTopic is not polled again until its batch is committed or 30 s have passed.
        """
        ...

    async def commit(self, offsets: Mapping[str, int]) -> None:
        """LiteTopic → the last offset that was read. What came later makes it ready again."""
        ...

    async def close(self) -> None:
        """Forget this client."""
        ...


class Registration(msgspec.Struct, frozen=True):
    """An agent of one process on a topic: `card` describes it, `instance` tells it from its equals elsewhere.

    `alive` is false once no heartbeat has come for 15 s; `renewed` is the last one (ms). `siblings` counts the other
    versions of the topic that are alive.
    """

    topic: str
    version: str
    card: "AgentCard"
    instance: str = ""
    alive: bool = True
    renewed: int = 0
    siblings: int = 0


class Change(msgspec.Struct, frozen=True):
    """What a watch brings."""

    kind: Literal["online", "offline", "removed"]
    registration: Registration


class Registry(Protocol):
    """Who is there, with their cards."""

    async def register(self, registration: Registration) -> None:
        """Put the agent in the registry, alive. Raises `Conflict` if this topic and version has another card."""
        ...

    async def renew(self, instance: str) -> None:
        """The heartbeat of everything that `instance` registered; at least every 15 s."""
        ...

    async def remove(self, topic: str, instance: str = "") -> None:
        """Take one instance offline; without `instance`, remove the topic's registrations altogether."""
        ...

    async def get(self, topic: str, version: str = "") -> Registration:
        """The registration of that version, else of the newest one, an alive one before a dead. Raises
        `TopicNotFound`.
        """
        ...

    async def list(self, *, alive: bool = True) -> Sequence[Registration]:
        """One registration per topic and version, by topic; only the alive ones unless told."""
        ...

    async def route(self, topic: str, weights: Mapping[str, int] | None = None) -> Mapping[str, int]:
        """Set which share of new messages each version gets, or only tell; empty: the newest alive one gets all.

        Raises `TopicNotFound`, also for a version that is not registered, and `ConfigError` for weights below 0.
        """
        ...

    def watch(self) -> AsyncGenerator[Change, None]:
        """What is registered now, as `online` changes, and every change from then on."""
        ...


class Function(msgspec.Struct, frozen=True):
    """A function that a language model may call. `name` fits OpenAI's pattern; `parameters` is a JSON Schema object."""

    name: str
    description: str
    parameters: dict[str, Any]


class FunctionCall(msgspec.Struct, frozen=True):
    """A function call that a model asked for. `arguments` is the text it wrote, JSON or not."""

    id: str
    name: str
    arguments: str


class Reply(msgspec.Struct, frozen=True):
    """A model's answer: text, function calls, or both; and what it cost in tokens."""

    text: str = ""
    calls: tuple[FunctionCall, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0


class ChatModel(Protocol):
    """A language model behind an OpenAI-compatible endpoint."""

    async def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        functions: Sequence[Function] = (),
        *,
        key: str = "",
        on_text: Callable[[str], Awaitable[None]] | None = None,
    ) -> Reply:
        """Ask for the next message. `messages` are in OpenAI's shape; `key` is the idempotency key of the request;
        `on_text` gets the text in pieces while it comes. Raises `ModelUnavailable`."""
        ...


class PlannedCall(msgspec.Struct, frozen=True):
    """A call that a planner wants: `id` is unique within its run."""

    id: str
    topic: str
    skill: str
    input: Any


class Outcome(msgspec.Struct, frozen=True):
    """How a planned call ended: `type` is that of its terminal event, `value` its result or its error in words."""

    call: PlannedCall
    type: str
    value: Any


class Decision(msgspec.Struct, frozen=True):
    """The next step of a run: calls to make now, or else the answer. With neither, the planner is to be asked again.

    `note` is plain JSON data that the planner finds in the rounds it is given later.
    """

    calls: tuple[PlannedCall, ...] = ()
    answer: str = ""
    note: Any = None


class Planner(Protocol):
    """Decides the next step of a run from the goal, the agents that fit it, and what came of the steps so far."""

    async def decide(
        self,
        goal: str,
        agents: Sequence[Registration],
        rounds: Sequence[tuple[Decision, Sequence[Outcome]]],
        *,
        history: Sequence[tuple[str, str]] = (),
        key: str = "",
        on_text: Callable[[str], Awaitable[None]] | None = None,
    ) -> Decision:
        """The next decision, for at most one request to a model: each decision is recorded before the next is asked
        for.

        `history` are the goals and answers of the session so far. The same arguments may be asked for again after a
        crash, with the same `key`.
        """
        ...


class Embedder(Protocol):
    """Texts to vectors."""

    @property
    def name(self) -> str:
        """Names model and version: vectors of another name are not comparable."""
        ...

    async def embed(self, texts: Iterable[str]) -> Sequence[Sequence[float]]:
        """One unit vector a text, all of one length."""
        ...
