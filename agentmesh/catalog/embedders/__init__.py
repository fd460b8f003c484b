"""The embedders that a setting can name."""

import importlib
from collections.abc import Callable
from typing import Any, Final

from agentmesh.contracts import Embedder
from agentmesh.errors import ConfigError

DEFAULT: Final = "use"
_KNOWN: Final = "Use use, none, openai:MODEL or python:MODULE:FUNCTION."


def choose(name: str = "", *, base_url: str | None = None, api_key: str | None = None) -> Embedder | None:
    """The embedder of this name; None for `none`. Raises `ConfigError`. Nothing is loaded before it is used.

    `base_url` and `api_key` are those of the endpoint for `openai:MODEL`.
    """
    kind, _, rest = (name or DEFAULT).partition(":")
    if kind == "none" and not rest:
        return None
    if kind == "use" and not rest:
        from agentmesh.catalog.embedders.use import UniversalSentenceEncoder

        return UniversalSentenceEncoder()
    if kind == "openai" and rest:
        from agentmesh.catalog.embedders.openai import OpenAIEmbeddings

        return OpenAIEmbeddings(rest, base_url=base_url, api_key=api_key)
    if kind == "python" and ":" in rest:
        from agentmesh.catalog.embedders.function import FunctionEmbedder

        return FunctionEmbedder(_imported(name, *rest.split(":", 1)), name)
    raise ConfigError(f"embedder={name!r}: there is no such embedder. {_KNOWN}")


def of(given: Any) -> Embedder:
    """An embedder, or a function from a list of texts to their vectors, as an embedder. Raises `ConfigError`."""
    if hasattr(given, "embed") and isinstance(getattr(given, "name", None), str):
        embedder: Embedder = given
        return embedder
    if not callable(given):
        raise ConfigError(
            f"embedder={given!r} is no embedder: give a name, a function, or what has `name` and `embed`."
        )
    from agentmesh.catalog.embedders.function import FunctionEmbedder

    home, own = getattr(given, "__module__", ""), getattr(given, "__qualname__", type(given).__name__)
    return FunctionEmbedder(given, f"python:{home}:{own}")


def _imported(name: str, module: str, function: str) -> Callable[..., Any]:
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"embedder={name!r}: {error}. {_KNOWN}") from error
    if not callable(found):
        raise ConfigError(f"embedder={name!r}: {function} is not a function.")
    called: Callable[..., Any] = found
    return called
