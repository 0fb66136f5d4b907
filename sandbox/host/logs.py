"""One line per log record on standard error, stamped with the invocation it belongs to.

Rules: a traceback is folded into its line; what runs outside an invocation is stamped `-`.
"""

import logging
import sys
import time
from contextvars import ContextVar

INVOCATION: ContextVar[tuple[str, str] | None] = ContextVar("host_invocation", default=None)
"""(function name, invocation id) of the code that is running, else None."""

_LINE = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s [%(function)s %(invocation)s] %(message)s"


class InvocationFilter(logging.Filter):
    """Adds `function` and `invocation` to each record."""

    def __init__(self, thread_mark: ContextVar[str | None]) -> None:
        super().__init__()
        self._thread_mark = thread_mark

    def filter(self, record: logging.LogRecord) -> bool:
        """Stamp the record; it is never dropped."""
        # A sync function runs in the library's thread, where only the library's own mark is set.
        name, invocation = INVOCATION.get() or ("-", self._thread_mark.get() or "-")
        record.function = name
        record.invocation = invocation
        return True


class OneLineFormatter(logging.Formatter):
    """Formats a record, traceback and all, as one line in UTC."""

    def __init__(self) -> None:
        super().__init__(_LINE, datefmt="%Y-%m-%dT%H:%M:%S")

    @staticmethod
    def converter(timestamp: float | None) -> time.struct_time:
        """UTC, as the cloud's logs are."""
        return time.gmtime(timestamp)

    def format(self, record: logging.LogRecord) -> str:
        """The record with its line breaks escaped."""
        return super().format(record).replace("\r", "").replace("\n", "\\n")


def set_up(level: str, thread_mark: ContextVar[str | None]) -> None:
    """Send every logger's records from `level` up to standard error.

    `thread_mark` holds the invocation id in the threads that run sync functions.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLineFormatter())
    handler.addFilter(InvocationFilter(thread_mark))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # These narrate every call and every retry; the host says once what matters of it.
    for name in ("azure", "aiohttp.access", "asyncio"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("azure.servicebus").setLevel(logging.CRITICAL)
