"""Language models, planners and embedders."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from agentmesh.contracts.registry import Registration

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray


class Function(msgspec.Struct, frozen=True):
    """A function that a language model may call. `name` fits OpenAI's pattern; `parameters` is a JSON Schema object, to
    which an endpoint that can do so holds the model if it is `strict`."""

    name: str
    description: str
    parameters: dict[str, Any]
    strict: bool = False


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
    """The next step of a run: calls to make now, or else the answer, or else a question to whoever gave the goal. With
    none of them, the planner is to be asked again.

    The outcome of a question has the type `answered`, and its value is what was said. `note` is plain JSON data that
    the planner finds in the rounds it is given later.
    """

    calls: tuple[PlannedCall, ...] = ()
    answer: str = ""
    note: Any = None
    question: str = ""


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
        """Names model and dimensions: vectors of another name are not comparable, nor kept together."""
        ...

    async def embed(self, texts: Sequence[str]) -> "NDArray[float32]":
        """A matrix of float32 with one row a text. The rows need not have length 1. Raises `ModelUnavailable`."""
        ...
