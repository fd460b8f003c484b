"""Spans, by OpenTelemetry's conventions for messaging and for generative AI.

    send {topic}         producer   a call is published
    process {topic}      consumer   an attempt at it, until it is acknowledged
    invoke_agent {name}  internal   a supervisor's run, within its attempt
    round {n}            internal   one round of it: a decision and the calls that it takes
    execute_tool {name}  internal   one call of a round, until its result is there
    chat {model}         client     a request to a language model

They are recorded when the program has configured OpenTelemetry's SDK, and only then is its API looked at: without it, a
span costs a fraction of a microsecond. What was said to agents and models is in no span.
"""

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from agentmesh.trace.context import root_trace

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, SpanKind, Tracer

    from agentmesh.message import Message

_SDK: Final = "opentelemetry.sdk.trace"
_NAME: Final = "agentmesh"
_MESSAGE: Final = 500

Attributes = dict[str, str | int | float | bool]

_found: "tuple[object, Tracer] | None" = None


def tracer() -> "Tracer | None":
    """The tracer of the SDK that the program has configured, if it has."""
    global _found
    if _SDK not in sys.modules:
        return None
    from opentelemetry import trace

    provider = trace.get_tracer_provider()
    if _found is not None and _found[0] is provider:
        return _found[1]
    if isinstance(provider, trace.ProxyTracerProvider):
        return None
    _found = provider, provider.get_tracer(_NAME)
    return _found[1]


class Open:
    """`with span(…)`: a span while the block runs, or nothing when nobody records. An error that leaves the block is
    its status."""

    __slots__ = ("_attributes", "_kind", "_links", "_name", "_parent", "_span", "_token")

    def __init__(
        self,
        name: str,
        kind: str = "INTERNAL",
        attributes: Attributes | None = None,
        parent: "Context | None" = None,
        links: "tuple[Link, ...]" = (),
    ) -> None:
        self._name = name
        self._kind = kind
        self._attributes = attributes
        self._parent = parent
        self._links = links
        self._span: Span | None = None
        self._token: Any = None

    def __enter__(self) -> Self:
        if _SDK in sys.modules and (recorder := tracer()) is not None:
            self._begin(recorder)
        return self

    def _begin(self, recorder: "Tracer") -> None:
        from opentelemetry import context, trace

        kind: SpanKind = getattr(trace.SpanKind, self._kind)
        self._span = recorder.start_span(self._name, self._parent, kind, self._attributes, self._links)
        self._token = context.attach(trace.set_span_in_context(self._span, self._parent))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        span = self._span
        if span is None:
            return
        from opentelemetry import context

        if isinstance(error, Exception):
            self.fail(type(error).__name__, str(error))
        context.detach(self._token)
        span.end()

    @property
    def is_recorded(self) -> bool:
        """Whether anybody will see it."""
        return self._span is not None

    def set(self, **attributes: str | int | float | bool) -> None:
        """Attributes by name, `__` for a dot: `gen_ai__usage__input_tokens=7`. Empty ones are left out."""
        if self._span is not None:
            for name, value in attributes.items():
                if value != "":
                    self._span.set_attribute(name.replace("__", "."), value)

    def fail(self, error: str, message: str) -> None:
        """It failed, with this kind of error."""
        if self._span is not None:
            from opentelemetry.trace import Status, StatusCode

            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR, message[:_MESSAGE]))

    def traceparent(self) -> str:
        """What a message carries that is sent within it; empty when nobody records."""
        if self._span is None:
            return ""
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


class Sending(Open):
    """`send {topic}`: the publish of a call. `traceparent` is what its message carries: the span's where spans are
    recorded, else the parent's, else that of a trace of its own.
    """

    __slots__ = ("_id", "_inherited")

    def __init__(self, topic: str, message_id: str, inherited: str) -> None:
        self._span = None
        self._name = topic
        self._id = message_id
        self._inherited = inherited

    def _begin(self, recorder: "Tracer") -> None:
        from opentelemetry import trace

        is_below_one = trace.get_current_span().get_span_context().is_valid
        parent = remote(self._inherited) if self._inherited and not is_below_one else None
        attributes = _messaging("send", self._name, self._id)
        super().__init__(f"send {self._name}", "PRODUCER", attributes, parent)
        super()._begin(recorder)

    def traceparent(self) -> str:
        if self._span is None:
            return self._inherited or root_trace(self._id)
        return super().traceparent()


class Processing(Open):
    """`process {topic}`: an attempt at a call, below the span that sent it and linked to it."""

    __slots__ = ("_attempt", "_message", "_worker")

    def __init__(self, message: "Message", attempt: int, worker: str) -> None:
        self._span = None
        self._message = message
        self._attempt = attempt
        self._worker = worker

    def _begin(self, recorder: "Tracer") -> None:
        from opentelemetry import trace

        message = self._message
        parent = remote(message.traceparent)
        sender = trace.get_current_span(parent).get_span_context()
        told: Attributes = {
            "messaging.client.id": self._worker,
            "messaging.message.body.size": len(message.body),
            "messaging.message.conversation_id": message.run,
            "gen_ai.conversation.id": message.session,
            "agentmesh.attempt": self._attempt,
            "agentmesh.skill": message.skill,
            "agentmesh.tenant": message.tenant,
        }
        attributes = _messaging("process", message.topic, message.id)
        attributes |= {name: value for name, value in told.items() if value != ""}
        links = (trace.Link(sender),) if sender.is_valid else ()
        super().__init__(f"process {message.topic}", "CONSUMER", attributes, parent, links)
        super()._begin(recorder)


def _messaging(operation: str, topic: str, message_id: str) -> Attributes:
    return {
        "messaging.system": _NAME,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
        "messaging.message.id": message_id,
    }


def remote(traceparent: str) -> "Context":
    """The context that a message came with, and nothing else of this process's."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent}, Context())


def invoking(agent: str, conversation: str) -> Open:
    """`invoke_agent {name}`: a supervisor's run."""
    attributes: Attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent}
    if conversation:
        attributes["gen_ai.conversation.id"] = conversation
    return Open(f"invoke_agent {agent}", attributes=attributes)


def executing(tool: str, call_id: str) -> Open:
    """`execute_tool {name}`: a call that a supervisor makes for its model."""
    attributes: Attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool,
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": call_id,
    }
    return Open(f"execute_tool {tool}", attributes=attributes)


def round_span(number: int) -> Open:
    """`round {n}`: a supervisor's decision and the calls that it takes."""
    return Open(f"round {number}", attributes={"agentmesh.round": number})


def chatting(model: str, base_url: str) -> Open:
    """`chat {model}`: a request to a language model."""
    attributes: Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": model,
    }
    url = urlsplit(base_url or "https://api.openai.com")
    if url.hostname:
        attributes["server.address"] = url.hostname
        attributes["server.port"] = url.port or (80 if url.scheme == "http" else 443)
    return Open(f"chat {model}", "CLIENT", attributes)
