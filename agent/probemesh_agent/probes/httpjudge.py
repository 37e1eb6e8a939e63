"""Whether an HTTP answer is the one expected, and what is odd about it without being wrong. Pure."""

import re
from collections.abc import Sequence

from probemesh_shared.escape import escape
from probemesh_shared.expectations import HttpExpected
from probemesh_shared.expectations.values import spell_ranges
from probemesh_shared.model import Failure, HttpSpec, PortRange
from probemesh_shared.words import FailureKind, Origin, Stage

from probemesh_agent.probes.httpanswer import Answer, bad
from probemesh_agent.probes.httpbody import judge_body
from probemesh_agent.probes.httprequest import asked_range

DEFAULT_STATUS = (PortRange(200, 399),)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(?:\d{1,18}|\*)", re.ASCII)
_ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_SHOWN = 80


def judge(spec: HttpSpec, expected: HttpExpected, answer: Answer) -> Failure | None:
    """Of the last answer of a chain, whole or cut at 1 MiB."""
    failure = _status(expected.status or spec.expect_status or DEFAULT_STATUS, answer)
    return failure or _part(spec, answer) or judge_body(expected, bytes(answer.body), answer.cut)


def _status(ranges: Sequence[PortRange], answer: Answer) -> Failure | None:
    status = answer.status or 0
    if any(one.first <= status <= one.last for one in ranges):
        return None
    detail = f"status {status}, expected {spell_ranges(tuple(ranges))}"
    return Failure(Stage.HTTP, FailureKind.STATUS_UNEXPECTED, Origin.TARGET, detail)


def _part(spec: HttpSpec, answer: Answer) -> Failure | None:
    """A 206 has to be the part that was asked for; several parts at once carry their ranges inside."""
    asked = _ONE_RANGE.fullmatch((asked_range(spec) or "").replace(" ", ""))
    if answer.status != 206 or asked is None:
        return None
    told = (answer.header("content-range") or "").strip()
    got = _CONTENT_RANGE.fullmatch(told)
    if got is None:
        return bad("the answer is 206, with no Content-Range that can be read")
    first, last = int(got[1]), int(got[2])
    if (
        first > last
        or (asked[1] and first != int(asked[1]))
        or (asked[1] and asked[2] and last > int(asked[2]))
    ):
        return bad(
            f"the answer is 206 with Content-Range {told[:_SHOWN]}, and bytes {asked[0][6:]} were asked for"
        )
    if answer.ended and spec.method != "HEAD" and len(answer.body) != last - first + 1:
        return bad(f"Content-Range says {last - first + 1} bytes, and {len(answer.body)} came")
    return None


def oddities(spec: HttpSpec, answer: Answer) -> list[str]:
    """What is no failure and worth a word."""
    found: list[str] = []
    if asked_range(spec) is not None and answer.status == 200:
        found.append("the range asked for was not honoured: the answer is 200, with all of it")
    if answer.content_encoding is not None and not _asked_encoding(spec):
        found.append(
            f"Content-Encoding {escape(answer.content_encoding, _SHOWN)} came although identity was asked "
            "for; the body is as sent"
        )
    if answer.left_over:
        found.append(f"{answer.left_over} bytes came behind the end of the answer")
    if answer.status == 304 and not _asked_condition(spec):
        found.append("the answer is 304, and nothing conditional was asked")
    return found


def _asked_encoding(spec: HttpSpec) -> bool:
    return any(name.lower() == "accept-encoding" for name, _ in spec.headers)


def _asked_condition(spec: HttpSpec) -> bool:
    return any(name.lower() in ("if-none-match", "if-modified-since") for name, _ in spec.headers)
