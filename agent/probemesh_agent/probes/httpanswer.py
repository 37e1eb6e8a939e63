"""What has been read of one HTTP answer, within its bounds, by whichever version it came; kept when the rest
does not come."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from probemesh_shared.model import Failure
from probemesh_shared.words import FailureKind, Origin, Stage

from probemesh_agent.env import ProbeFailed

HEADERS_MOST = 16 * 1024
BODY_MOST = 1024 * 1024
BODY_KEPT = 4096
INFORMATIONAL_MOST = 10
_LONGEST_LENGTH = 18  # digits of a Content-Length


@dataclass(slots=True)
class Answer:
    """``head_size``, ``received`` and ``sent`` are bytes above TLS. ``cut``: 1 MiB of body was enough."""

    version: str | None = None
    status: int | None = None
    reason: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    cut: bool = False
    first_byte_ns: int | None = None
    written_ns: int | None = None
    head_size: int | None = None
    sent: int = 0
    received: int = 0
    left_over: int = 0  # bytes that came behind its end
    informational: int = 0

    @property
    def complete(self) -> bool:
        return self.ended or self.cut

    def arrived(self, data: bytes, at_ns: int) -> None:
        """Bytes of this answer, whatever they will turn out to be."""
        self.received += len(data)
        if data and self.first_byte_ns is None:
            self.first_byte_ns = at_ns

    def interim(self) -> None:
        """A 1xx answer; a server may send a few."""
        self.informational += 1
        if self.informational > INFORMATIONAL_MOST:
            raise TooMuch(f"more than {INFORMATIONAL_MOST} informational answers came, and no final one")

    def take_body(self, data: bytes) -> None:
        self.body += data[: BODY_MOST - len(self.body)]
        self.cut = self.cut or len(self.body) >= BODY_MOST

    def header(self, name: str) -> str | None:
        """The first of that name."""
        return header_of(self.headers, name)

    @property
    def content_length(self) -> int | None:
        text = (self.header("content-length") or "").strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_LENGTH else None

    @property
    def content_encoding(self) -> str | None:
        coding = (self.header("content-encoding") or "").strip().lower()
        return coding if coding not in ("", "identity") else None


class TooMuch(Exception):
    """An answer that goes on beyond a bound; says which."""


def header_of(headers: Iterable[tuple[str, str]], name: str) -> str | None:
    return next((value for key, value in headers if key.lower() == name), None)


def head_too_long() -> Failure:
    return bad("the answer's head goes on beyond 16 KiB")


def bad(detail: str, errno: str | None = None) -> Failure:
    """What answered is not HTTP, or breaks its rules."""
    return Failure(Stage.HTTP, FailureKind.BAD_ANSWER, Origin.TARGET, detail, errno=errno)


def ill_framed(answer: Answer) -> Failure:
    """The body broke off, or its framing cannot be."""
    declared = answer.content_length
    if declared is not None and len(answer.body) < declared:
        detail = f"the body ends after {len(answer.body)} of the {declared} bytes that Content-Length says"
        return bad(detail)
    return bad("the answer's body is not framed as HTTP says, or ends before its end")


def closed(answer: Answer) -> Failure:
    """FIN before there was a status."""
    when = "in the middle of its answer's head" if answer.received else "without an answer"
    detail = f"the server closed the connection {when}"
    return Failure(Stage.HTTP, FailureKind.CLOSED, Origin.TARGET, detail)


def not_whole(failed: ProbeFailed, answer: Answer) -> ProbeFailed:
    """The same; where time ran out in the middle of an answer, it says how much had come."""
    if failed.failure.kind is not FailureKind.TIMEOUT or answer.first_byte_ns is None:
        return failed
    if answer.status is None:
        came = f": {answer.received} bytes came"
        return ProbeFailed(failed.failure, failed.at, late="the answer's head was not whole", more=came)
    declared = answer.content_length
    size = f" of {declared}" if declared is not None else ""
    came = f": {len(answer.body)}{size} bytes of its body came, with status {answer.status}"
    return ProbeFailed(failed.failure, failed.at, late="the answer was not whole", more=came)
