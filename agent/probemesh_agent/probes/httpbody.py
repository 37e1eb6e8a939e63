"""Whether the body of an answer is as expected: text in it, values of its JSON, its size. Pure.

Only the first 1 MiB is looked at (``cut``: there was more); no patterns, so that nothing here costs more than
the body's length times the number of expectations, which is bounded.
"""

import json
from typing import Any

from probemesh_shared.escape import escape
from probemesh_shared.expectations import HttpExpected, unexpected
from probemesh_shared.failures import UNWANTED
from probemesh_shared.model import Failure
from probemesh_shared.words import FailureKind, Kind, Origin, Stage

#: A list of two bytes takes seventy in memory, an object with a name of its own 340.
_MARKS, _MOST_MARKS = (b"[", b"{", b",", b":"), 65_536


def judge_body(expected: HttpExpected, body: bytes, cut: bool) -> Failure | None:
    """The first expectation about the body that is not met."""
    within = "its first 1 MiB" if cut else f"its {len(body)} bytes"
    for needle in expected.body:
        if needle.data not in body:
            return _body(f"the body has no {escape(needle.text, 80)}, expected in {within}")
    for needle in expected.body_not:
        if needle.data in body:
            return _body(f"the body contains {escape(needle.text, 80)}, expected not to", UNWANTED)
    words = _size(expected, len(body), cut) or _json(expected, body, cut)
    return unexpected(Kind.HTTP, words) if words else None


def _body(detail: str, code: str | None = None) -> Failure:
    return Failure(Stage.HTTP, FailureKind.BODY_UNEXPECTED, Origin.TARGET, detail, code)


def _size(expected: HttpExpected, size: int, cut: bool) -> str | None:
    most = expected.size_max
    if most is None or (size <= most and not cut):
        return None
    more = "more than " if cut else ""
    return f"a body of {more}{size} bytes, expected at most {most}"


def _json(expected: HttpExpected, body: bytes, cut: bool) -> str | None:
    if not expected.json:
        return None
    if cut:
        return "the body goes on beyond 1 MiB, too long to be read as JSON"
    if sum(map(body.count, _MARKS)) > _MOST_MARKS:
        return f"the body has more than {_MOST_MARKS} marks of JSON, too many to be read"
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        return "the body is not JSON"
    return next((words for one in expected.json if (words := one.unmet(document)) is not None), None)
