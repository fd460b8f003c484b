"""Who holds the event loop: the time between two awaits of a handler."""

import types
from collections.abc import Callable, Coroutine, Generator
from time import perf_counter
from typing import Any, Final, TypeVar

T = TypeVar("T")

LONG: Final = 0.1
"""Seconds between two awaits from which on a handler is named."""


@types.coroutine
def watched(coroutine: Coroutine[Any, Any, T], blocked: Callable[[float], None]) -> Generator[Any, Any, T]:
    """Await `coroutine`, and call `blocked` with the seconds of each step that held the loop for long."""
    send, throw = coroutine.send, coroutine.throw
    value, error = None, None
    try:
        while True:
            began = perf_counter()
            try:
                waited = send(value) if error is None else throw(error)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            finally:
                took = perf_counter() - began
                if took > LONG:
                    blocked(took)
            value, error = None, None
            try:
                value = yield waited
            except GeneratorExit:
                raise
            except BaseException as raised:
                error = raised
    finally:
        coroutine.close()
