"""The loggers of this package: structlog's, to standard error until the program configures structlog."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


def get_logger(**ids: Any) -> "FilteringBoundLogger":
    """A logger bound to `ids`. A program's own `structlog.configure` counts from the next logger on."""
    import structlog

    if structlog.is_configured():
        logger = structlog.get_logger("agentmesh")
    else:
        plain = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        processors: list[Any] = [structlog.processors.add_log_level, structlog.processors.TimeStamper("iso"), plain]
        logger = structlog.wrap_logger(structlog.PrintLogger(sys.stderr), processors=processors)
    bound: FilteringBoundLogger = logger.bind(**ids)
    return bound
