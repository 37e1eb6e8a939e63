"""One event, and the one line it is in a file. Pure.

A line is a JSON object in ASCII with every key in it, so that no text from elsewhere can end a line, forge
another or steer a terminal. It is written by hand: ``json`` is more than an idle agent has room for.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from probemesh_shared.moments import time_from_text, time_text
from probemesh_shared.words import AuditOutcome

if TYPE_CHECKING:
    from probemesh_shared.jsonshape import AuditRecordJson

#: Characters of one text; of all targets (or all agents) of one record.
MAX_TEXT, MAX_LISTED, _MAX_COUNTS = 600, 8192, 32
_SAFE = {ord('"'): '\\"', ord("\\"): "\\\\"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asked: ``who`` is ``operator/alice``, ``who_id`` the certificate's id where it is another word,
    ``certificate`` its serial, ``address`` ``192.0.2.1:4711``. What is not known is empty."""

    who: str = ""
    who_id: str = ""
    certificate: str = ""
    address: str = ""


NOBODY = Caller()


@dataclass(frozen=True, slots=True)
class AuditCount:
    """How many measurements ended how."""

    outcome: str
    rows: int


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """``event`` is a word such as ``create-token``; ``agent`` and ``token`` are whom and what it was about;
    ``asked_by`` is on whose behalf a controller says it asks. ``omitted`` counts agents and targets that had
    no room; ``times`` is how many events the record stands for."""

    at_ns: int
    event: str
    outcome: AuditOutcome = AuditOutcome.OK
    who: str = ""
    who_id: str = ""
    certificate: str = ""
    address: str = ""
    asked_by: str = ""
    run: str = ""
    job: str = ""
    agent: str = ""
    token: str = ""
    kinds: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    omitted: int = 0
    counts: tuple[AuditCount, ...] = ()
    detail: str = ""
    times: int = 1


Audit = Callable[[AuditRecord], None]


def unrecorded(record: AuditRecord) -> None:
    """The :data:`Audit` of whoever keeps none: a laptop, a test."""


def counted(counts: Mapping[str, int]) -> tuple[AuditCount, ...]:
    """In a fixed order, for a record."""
    return tuple(AuditCount(str(outcome), rows) for outcome, rows in sorted(counts.items()))


def outcome_by(counts: Mapping[str, int]) -> AuditOutcome:
    """``denied`` where policy let nothing through at all, else ``ok``: how measurements ended is in the
    counts."""
    return AuditOutcome.DENIED if set(counts) == {"denied"} else AuditOutcome.OK


def without_queries(targets: Iterable[str]) -> tuple[str, ...]:
    """What a URL asks for may be a secret; where it goes is not."""
    return tuple(f"{head}?…" if mark else head for head, mark, _ in (text.partition("?") for text in targets))


def bounded(record: AuditRecord) -> AuditRecord:
    """The same in a size that a file can stand: texts cut, lists ended where their room is used up."""
    agents, targets = _first(record.agents), _first(record.targets)
    left_out = len(record.agents) - len(agents) + len(record.targets) - len(targets)
    texts: dict[str, Any] = {
        name: value[:MAX_TEXT] for name in _TEXTS if len(value := cast(str, getattr(record, name))) > MAX_TEXT
    }
    if not texts and not left_out and len(record.counts) <= _MAX_COUNTS:
        return record
    return replace(
        record,
        agents=agents,
        targets=targets,
        omitted=record.omitted + left_out,
        counts=record.counts[:_MAX_COUNTS],
        **texts,
    )


_TEXTS = (
    *("event", "who", "who_id", "certificate", "address", "asked_by"),
    *("run", "job", "agent", "token", "detail"),
)


def _first(texts: tuple[str, ...]) -> tuple[str, ...]:
    """As many as have room. One that is cut would be another target: it is left out whole."""
    room = MAX_LISTED
    for number, text in enumerate(texts):
        room -= len(text) + 1
        if room < 0:
            return texts[:number]
    return texts


# --- as JSON --------------------------------------------------------------------------------------------


def record_to_json(record: AuditRecord) -> "AuditRecordJson":
    return {
        "time": time_text(record.at_ns),
        "event": record.event,
        "outcome": record.outcome,
        "who": record.who or None,
        "who_id": record.who_id or None,
        "certificate": record.certificate or None,
        "from": record.address or None,
        "asked_by": record.asked_by or None,
        "run": record.run or None,
        "job": record.job or None,
        "agent": record.agent or None,
        "token": record.token or None,
        "kinds": list(record.kinds),
        "agents": list(record.agents),
        "targets": list(record.targets),
        "omitted": record.omitted,
        "counts": {count.outcome: count.rows for count in record.counts},
        "detail": record.detail or None,
        "times": record.times,
    }


def line_of(record: AuditRecord) -> bytes:
    """The record in a file, with the end of its line."""
    return _json(record_to_json(bounded(record))).encode("ascii") + b"\n"


def _json(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return f'"{_text(value)}"'
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, dict):
        return "{" + _joined(f'"{_text(key)}":{_json(one)}' for key, one in value.items()) + "}"
    return "[" + _joined(_json(one) for one in value) + "]"


def _joined(parts: Iterable[str]) -> str:
    return ",".join(parts)


def _text(text: str) -> str:
    text = text.translate(_SAFE)
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if " " <= char <= "~" else _escaped(ord(char)) for char in text)


def _escaped(point: int) -> str:
    """Beyond the first plane as a pair of surrogates, as JSON has it."""
    if point <= 0xFFFF:
        return f"\\u{point:04x}"
    return f"\\u{0xD800 + (point - 0x10000 >> 10):04x}\\u{0xDC00 + (point - 0x10000 & 0x3FF):04x}"


def record_from_json(value: Any) -> AuditRecord:
    """What a file's line holds. Raises ``ValueError`` for what no :func:`record_to_json` has made."""
    if not isinstance(value, dict):
        raise ValueError("not an object")

    def text(key: str) -> str:
        found = value.get(key)
        if not (found is None or isinstance(found, str)):
            raise ValueError(f"{key} is no text")
        return found or ""

    def number(key: str, least: int) -> int:
        found = value.get(key, least)
        if not isinstance(found, int) or isinstance(found, bool) or not least <= found < 1 << 63:
            raise ValueError(f"{key} is no such number")
        return found

    def texts(key: str) -> tuple[str, ...]:
        found = value.get(key, [])
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise ValueError(f"{key} is no list of texts")
        return tuple(found)

    return AuditRecord(
        at_ns=time_from_text(text("time")),
        event=text("event"),
        outcome=AuditOutcome(text("outcome")),
        who=text("who"),
        who_id=text("who_id"),
        certificate=text("certificate"),
        address=text("from"),
        asked_by=text("asked_by"),
        run=text("run"),
        job=text("job"),
        agent=text("agent"),
        token=text("token"),
        kinds=texts("kinds"),
        agents=texts("agents"),
        targets=texts("targets"),
        omitted=number("omitted", 0),
        counts=_counts(value.get("counts", {})),
        detail=text("detail"),
        times=number("times", 1),
    )


def _counts(value: Any) -> tuple[AuditCount, ...]:
    if not isinstance(value, dict):
        raise ValueError("counts is no object")
    for rows in value.values():
        if not isinstance(rows, int) or isinstance(rows, bool) or not 0 <= rows < 1 << 63:
            raise ValueError("a count is no such number")
    return tuple(AuditCount(str(outcome), rows) for outcome, rows in value.items())
