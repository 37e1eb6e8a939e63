"""Takes the credentials that were sent out of whatever an answer echoes: once, of the whole row, before it
leaves the kind. Pure.

A secret is looked for as it was sent, as its parts (a cookie's value, what stands behind the scheme, the
password in a Basic header) and as others would write it (JSON, URLs, HTML), in any case. Shorter ones than 4
bytes are found everywhere, so they are not looked for. What was cut may end in half a secret: that goes too.
"""

import base64
import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

from probemesh_shared.model import HttpSpec

from probemesh_agent.probes.httprequest import CREDENTIALS

T = TypeVar("T")
SHORTEST = 4  # bytes
_MARK = b"[redacted]"
_CUT = "…".encode()
#: What a header of parameters says of the request, and of nobody's secret.
_PUBLIC = frozenset({"realm", "uri", "algorithm", "qop", "nc", "username", "userhash", "charset"})


def redacting(spec: HttpSpec) -> "Redaction":
    pairs = [*spec.secret_headers, *(pair for pair in spec.headers if pair[0].lower() in CREDENTIALS)]
    words = {word for name, value in pairs for word in _words(name.lower(), value)}
    spelled = {way for word in words if len(word.encode()) >= SHORTEST for way in _spellings(word)}
    return Redaction(tuple(sorted(spelled, key=lambda one: (-len(one), one))))


def _words(name: str, value: str) -> Iterator[str]:
    """What of a header is secret: the values of cookies, what stands behind the scheme, its parts."""
    yield value
    if name == "cookie":
        for part in value.split(";"):
            yield (part.partition("=")[2] or part).strip().strip('"')
        return
    scheme, blank, rest = value.partition(" ")
    rest = rest.strip() if blank else value
    yield rest
    if scheme.lower() == "basic":
        yield from _basic(rest)
    for part in re.split(r"[\s,;]+", rest):
        key, equals, given = part.partition("=")
        if not equals or key.lower() not in _PUBLIC:
            yield part
            yield given.strip('"')


def _basic(token: str) -> Iterator[str]:
    try:
        pair = base64.b64decode(token, validate=True).decode()
    except ValueError:
        return
    yield pair
    yield pair.partition(":")[2]


def _spellings(word: str) -> Iterator[bytes]:
    """UTF-8 as such and taken for Latin-1; escaped as in JSON, URLs, HTML and by Python."""
    in_json = json.dumps(word)[1:-1]
    ways = {
        word,
        in_json,
        in_json.replace("/", "\\/"),
        json.dumps(word, ensure_ascii=False)[1:-1],
        quote(word),
        quote(word, safe=""),
        quote_plus(word),
        html.escape(word),
        html.escape(word, quote=False),
        ascii(word)[1:-1],
        word.encode().decode("latin-1"),
    }
    return (way.encode() for way in ways)


@dataclass(frozen=True)
class Redaction:
    """``secrets``: the longest first."""

    secrets: tuple[bytes, ...] = field(default=(), repr=False)

    @cached_property
    def _pattern(self) -> re.Pattern[bytes]:
        """Also those that begin inside another."""
        return re.compile(b"(?=(" + b"|".join(map(re.escape, self.secrets)) + b"))", re.IGNORECASE)

    @cached_property
    def _beginnings(self) -> frozenset[bytes]:
        return frozenset(secret[:SHORTEST].lower() for secret in self.secrets)

    def beginning(self, data: bytearray, most: int) -> bytes:
        """Of a body."""
        longest = max(map(len, self.secrets), default=0)
        return self.data(bytes(data[: most + longest]))[:most]

    def data(self, data: bytes) -> bytes:
        if not self.secrets:
            return data
        made, done = bytearray(), 0
        for first, end in sorted(self._found(data)):
            if first >= done:
                made += data[done:first] + _MARK
            done = max(done, end)
        return bytes(made + data[done:])

    def _found(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Where a secret is, or, at the end and before the mark of a cut, the beginning of one."""
        yield from (found.span(1) for found in self._pattern.finditer(data))
        ends = [*(cut.start() for cut in re.finditer(_CUT, data)), len(data)]
        for end in ends:
            first = self._half(data, end)
            if first is not None:
                yield first, end

    def _half(self, data: bytes, end: int) -> int | None:
        since = max(0, end - len(self.secrets[0]))
        low = data[since:end].lower()
        for at in range(len(low) - SHORTEST + 1):
            if low[at : at + SHORTEST] in self._beginnings and any(
                secret.lower().startswith(low[at:]) for secret in self.secrets
            ):
                return since + at
        return None

    def text(self, text: str) -> str:
        if not self.secrets:
            return text
        return self.data(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def pairs(self, headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        return tuple((name, self.text(value)) for name, value in headers)

    def maybe(self, text: str | None) -> str | None:
        return None if text is None else self.text(text)

    def of(self, value: T, keep: frozenset[str] = frozenset()) -> T:
        """The same with every text in it cleaned, at any depth; of the fields in ``keep`` none is."""
        return self._of(value, keep) if self.secrets else value

    def _of(self, value: Any, keep: frozenset[str] = frozenset()) -> Any:
        if type(value) is str:  # closed words are none of an answer's
            return self.text(value)
        if isinstance(value, bytes):
            return self.data(value)
        if isinstance(value, tuple):
            return tuple(self._of(one) for one in value)
        if not is_dataclass(value) or isinstance(value, type):
            return value
        names = [one.name for one in fields(value) if one.name not in keep]
        return replace(value, **{name: self._of(getattr(value, name)) for name in names})


__all__ = ["Redaction", "redacting"]
