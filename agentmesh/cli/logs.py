"""Logs of the command line: one line each, to stderr."""

import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, Final

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def start_logging(level: str) -> None:
    """Log from `level` on; from `info` on, with the tracebacks of handlers that raised."""
    import structlog

    def render(_logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        return _line(method, event, full=_LEVELS[level] < _LEVELS["warning"])

    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # looked up each time: a live view redirects it
        cache_logger_on_first_use=False,
    )


def _line(method: str, event: MutableMapping[str, Any], *, full: bool) -> str:
    """`warning: handler raised: ValueError: no (agents/x/agent.py:9) topic=XTask call=call-0192…`"""
    raised = event.pop("exc_info", None)
    if raised is True:
        raised = sys.exc_info()[1]
    parts = [f"{method}: {event.pop('event', '')}"]
    if isinstance(raised, BaseException):
        parts[0] += f": {type(raised).__name__}: {' '.join(str(raised).split())}{_place(raised)}"
    parts += [f"{name}={value}" for name, value in event.items() if value != ""]
    line = " ".join(" ".join(parts).splitlines())
    if full and isinstance(raised, BaseException):
        line += "\n" + "".join(traceback.format_exception(raised)).rstrip()
    return line


def _place(error: BaseException) -> str:
    """The line that raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
