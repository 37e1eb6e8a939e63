"""One line an event, to stderr: plain for people and journals, or one JSON object each.

Text from elsewhere is escaped here, so that no peer can forge or break a line. Secrets are never logged: no
code hands them to a logger.
"""

import logging
import sys
import time
import traceback

from probemesh_shared.escape import escape

_LIMIT = 2000


class PlainFormatter(logging.Formatter):
    """``2026-11-22T17:00:00Z info links: connected``; an own fault's traceback follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_when(record)} {record.levelname.lower()} {_area(record)}: {_text(record)}"
        if record.exc_info and record.exc_info[0] is not None:
            trace = "".join(traceback.format_exception(*record.exc_info)).rstrip().splitlines()
            line += "".join("\n  " + escape(part, _LIMIT) for part in trace)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object: ``time``, ``level``, ``area``, ``message``, and ``trace`` of an own fault."""

    def format(self, record: logging.LogRecord) -> str:
        import json

        fields = {
            "time": _when(record),
            "level": record.levelname.lower(),
            "area": _area(record),
            "message": _text(record),
        }
        if record.exc_info and record.exc_info[0] is not None:
            fields["trace"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(fields)


def configure(*, as_json: bool = False, debug: bool = False) -> None:
    """Sets up the root logger, once per process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else PlainFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    for noisy in ("asyncio", "grpc"):
        logging.getLogger(noisy).setLevel(logging.INFO if debug else logging.WARNING)


def _text(record: logging.LogRecord) -> str:
    return escape(record.getMessage(), _LIMIT)


def _area(record: logging.LogRecord) -> str:
    """Without the package, which is the program's or says nothing."""
    package, _, module = record.name.partition(".")
    return module if module and package.startswith("probemesh_") else record.name


def _when(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
