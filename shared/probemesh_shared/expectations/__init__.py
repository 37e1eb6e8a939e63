"""What an answer has to be like: ``--expect KEY=VALUE``, read once, and judged on every measurement. Pure.

An expectation applies to the rows of its kinds. A row that held and is not as expected becomes outcome
``answer-unexpected``; a row that failed as an expectation wanted it to (``rcode=NXDOMAIN``, ``state=closed``)
becomes ``ok``. Samples are never touched. See docs/decisions/0010-expectations.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.expectations.judging import is_resolving
from probemesh_shared.expectations.keys import INSIDE, KEYS, Key
from probemesh_shared.expectations.values import MAX_VALUE, JsonExpected, Needle
from probemesh_shared.failures import UNWANTED, outcome_of
from probemesh_shared.model import Expectation, Failure, Measurement, PortRange
from probemesh_shared.names import did_you_mean
from probemesh_shared.words import NOT_MEASURED, FailureKind, Kind, Origin, Outcome, Stage

MAX_EXPECTATIONS = 32
LIST_THEM = "meshctl help expectations lists them"

_STAGE = {
    Kind.ICMP: Stage.RECEIVE,
    Kind.DNS: Stage.RESOLVE,
    Kind.TCP: Stage.CONNECT,
    Kind.UDP: Stage.RECEIVE,
    Kind.TLS: Stage.TLS,
    Kind.HTTP: Stage.HTTP,
}
#: In a climb these are judged where the round trip is the network's own: on ping, connect and datagram.
_OF_THE_NETWORK = frozenset({"rtt-max", "rtt-min", "loss-max"})


def parse_expectation(text: str) -> Expectation:
    """``status=404,200-299`` in its canonical spelling. Raises :class:`InvalidRequest`."""
    key, equals, value = text.partition("=")
    if not equals:
        raise InvalidRequest(
            f"the expectation '{escape(text, 80)}' has no value",
            f"for example {KEYS[key].example}" if key in KEYS else f"write it as KEY=VALUE; {LIST_THEM}",
        )
    return checked(Expectation(key.strip().lower(), value.strip()))


def parse_expectations(texts: Iterable[str]) -> tuple[Expectation, ...]:
    """Each once, in the order given; at most :data:`MAX_EXPECTATIONS`."""
    found = tuple(dict.fromkeys(map(parse_expectation, texts)))
    _check_count(found)
    return found


def checked(expectation: Expectation) -> Expectation:
    """The same in canonical spelling, or :class:`InvalidRequest`: unknown key, value that cannot be read, or
    is too long once it is written out."""
    key, value = _read(expectation)
    spelled = key.value.spell(value)
    _check_value(key.name, spelled, f"for example {key.example}")
    return Expectation(key.name, spelled)


def belongs(key: str) -> tuple[Kind, ...]:
    """The kinds that a key can be judged on; none for a key that is not known."""
    return KEYS[key].kinds if key in KEYS else ()


def of_kind(expectations: Iterable[Expectation], kind: Kind) -> tuple[Expectation, ...]:
    """Those that can be judged on ``kind``; all of them on a ladder."""
    return tuple(one for one in expectations if kind is Kind.LADDER or kind in belongs(one.key))


def is_about_failing(expectation: Expectation) -> bool:
    """It makes ``ok`` of a name that does not resolve, or of a port that does not answer."""
    key, value = _read(expectation)
    return key.wants_failure(value)


def _check_count(expectations: Sequence[Expectation]) -> None:
    if len(expectations) > MAX_EXPECTATIONS:
        raise InvalidRequest(f"{len(expectations)} expectations are too many", f"{MAX_EXPECTATIONS} at most")


def _suggested(word: str) -> str | None:
    near = did_you_mean(word, KEYS)
    return f"{near} {LIST_THEM}" if near else None


def _read(expectation: Expectation) -> tuple[Key, Any]:
    name, text = expectation.key, expectation.value
    key = KEYS.get(name)
    if key is None:
        raise InvalidRequest(f"there is no expectation '{escape(name, 40)}'", _suggested(name) or LIST_THEM)
    example = f"for example {key.example}"
    if not text:
        raise InvalidRequest(f"the expectation {name} has no value", example)
    _check_value(name, text, example)
    try:
        return key, key.value.read(text)
    except ValueError as error:
        raise InvalidRequest(f"the expectation {name} cannot be read: {error}", example) from None


def _check_value(name: str, text: str, example: str) -> None:
    if not text.isprintable() or len(text.encode("utf-8", "replace")) > MAX_VALUE:
        raise InvalidRequest(
            f"the value of {name} is longer than {MAX_VALUE} bytes, or has characters that cannot be shown",
            f"{example}; bytes are written as hex:0d0a",
        )


@dataclass(frozen=True, slots=True)
class HttpExpected:
    """What the kind ``http`` judges itself, on each whole answer. ``status`` None: its own default."""

    status: tuple[PortRange, ...] | None = None
    body: tuple[Needle, ...] = ()
    body_not: tuple[Needle, ...] = ()
    json: tuple[JsonExpected, ...] = ()
    size_max: int | None = None


def http_expectations(expectations: Iterable[Expectation]) -> HttpExpected:
    """Raises :class:`InvalidRequest`. Several ``status`` have each to hold: the kind looks at the first, the
    judge at all."""
    values = _values(expectations)
    status, sizes = values("status"), values("size-max")
    return HttpExpected(
        status[0] if status else None,
        tuple(values("body")),
        tuple(values("body-not")),
        tuple(values("json")),
        min(sizes) if sizes else None,
    )


def bytes_expected(expectations: Iterable[Expectation]) -> tuple[Needle, ...]:
    """``answer=`` as tcp and udp judge it: each must be contained in one answer. Raises InvalidRequest."""
    return tuple(_values(expectations)("answer"))


def wants_banner(expectations: Iterable[Expectation]) -> bool:
    """Whether the kind ``tcp`` has to wait for the server's first words."""
    return any(one.key == "banner" for one in expectations)


def _values(expectations: Iterable[Expectation]) -> Any:
    read = [_read(one) for one in expectations]
    return lambda name: [value for key, value in read if key.name == name]


class Judge:
    """Expectations, read once. Raises :class:`InvalidRequest` for what this version does not know."""

    def __init__(self, expectations: Sequence[Expectation], *, ladder: bool = False) -> None:
        _check_count(expectations)
        self._read = tuple((one, *_read(one)) for one in expectations)
        self._ladder = ladder

    def __bool__(self) -> bool:
        return bool(self._read)

    def applying(self, row: Measurement) -> tuple[Expectation, ...]:
        """Those that are judged on this row, if it holds."""
        return tuple(one for one, key, _ in self._read if self._applies(key, row))

    def judged(self, row: Measurement) -> Measurement:
        """The row as it counts; the very same one where nothing is to be said."""
        if row.outcome in NOT_MEASURED:
            return row
        applying = [(key, value) for _, key, value in self._read if self._applies(key, row)]
        held = row.outcome is Outcome.OK or _is_excused(row, applying)
        if not held:
            return row
        failure = _first_unmet(row, applying)
        if failure is not None:
            return replace(row, outcome=outcome_of(failure), failure=failure, log=(*row.log, failure.detail))
        if row.outcome is Outcome.OK:
            return row
        said = row.failure.detail if row.failure is not None else str(row.outcome)
        return replace(row, outcome=Outcome.OK, failure=None, log=(*row.log, f"as expected: {said}"))

    def _applies(self, key: Key, row: Measurement) -> bool:
        if row.kind not in key.judges:
            return False
        if is_resolving(row):
            return key.name == "address" or not self._ladder
        return not (self._ladder and key.name in _OF_THE_NETWORK and row.kind in (Kind.TLS, Kind.HTTP))


def judge(row: Measurement, expectations: Sequence[Expectation]) -> Failure | None:
    """Why a row that held is not as expected, None where it is. Raises :class:`InvalidRequest`."""
    return _first_unmet(row, [_read(one) for one in expectations if row.kind in belongs(one.key)])


def _first_unmet(row: Measurement, applying: Iterable[tuple[Key, Any]]) -> Failure | None:
    for key, value in applying:
        words = key.judges[row.kind](row, value)
        if words is not None:
            return unexpected(row.kind, words, unwanted=key.forbids)
    return None


def unexpected(kind: Kind, detail: str, *, unwanted: bool = False) -> Failure:
    """The failure an expectation that was not met is told as. ``unwanted``: it says what must not be."""
    code = UNWANTED if unwanted else None
    return Failure(_STAGE[kind], FailureKind.ANSWER_UNEXPECTED, Origin.TARGET, detail, code)


def _is_excused(row: Measurement, applying: Iterable[tuple[Key, Any]]) -> bool:
    """The row failed just as one expectation wants it to."""
    failure = row.failure
    return failure is not None and any(
        failure.kind in key.excuses and key.judges[row.kind](row, value) is None for key, value in applying
    )


__all__ = [
    "INSIDE",
    "KEYS",
    "LIST_THEM",
    "MAX_EXPECTATIONS",
    "MAX_VALUE",
    "HttpExpected",
    "JsonExpected",
    "Judge",
    "Key",
    "Needle",
    "belongs",
    "bytes_expected",
    "checked",
    "http_expectations",
    "is_about_failing",
    "judge",
    "of_kind",
    "parse_expectation",
    "parse_expectations",
    "unexpected",
    "wants_banner",
]
