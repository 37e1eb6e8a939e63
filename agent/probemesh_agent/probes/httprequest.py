"""What is asked of which place: method, path and headers of one HTTP request, for either version. Pure.

Credentials go to the target's own origin (scheme, host, port) only, and into no text.
"""

from dataclasses import dataclass, field

from probemesh_shared.hosts import bracketed
from probemesh_shared.model import HttpSpec

from probemesh_agent.probes.attempts import Unit
from probemesh_agent.version import version

#: Headers that are credentials, whoever wrote them.
CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization"})
_OF_THE_BODY = frozenset(
    {"content-type", "content-length", "content-encoding", "content-language", "transfer-encoding"}
)
_EXPECT_A_BODY = frozenset({"POST", "PUT", "PATCH"})
_SHOWN_URL = 200


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request goes. ``host`` without brackets and scope."""

    secure: bool
    host: str
    port: int
    path: str = "/"

    @property
    def origin(self) -> tuple[bool, str, int]:
        return self.secure, self.host.lower(), self.port

    @property
    def scheme(self) -> str:
        return "https" if self.secure else "http"

    @property
    def authority(self) -> str:
        host = bracketed(self.host)
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


@dataclass(frozen=True, slots=True)
class Request:
    """``headers`` are whole but for what belongs to a version: Host, Connection."""

    method: str
    place: Place
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    credentials: bool = False  # it carries some
    host: str = ""  # Host, or :authority


def place_of(unit: Unit) -> Place:
    named = unit.target.host if unit.target.agent is None else unit.address.host
    target = unit.target
    return Place(target.secure, named.partition("%")[0], unit.port, target.path or "/")


def first_request(spec: HttpSpec, place: Place) -> Request:
    return build(spec, place, place, spec.method, spec.body)


def build(spec: HttpSpec, first: Place, place: Place, method: str, body: bytes | None) -> Request:
    """The request at ``place`` in a chain that began at ``first``. ``body`` None: none, or no longer."""
    own = place.origin == first.origin
    given = [(name, value) for name, value in spec.headers if own or not _bound(name)]
    if own:
        given += [
            (name, value) for name, value in spec.secret_headers if name.lower() != "proxy-authorization"
        ]
    if body is None and spec.body is not None:
        given = [(name, value) for name, value in given if name.lower() not in _OF_THE_BODY]
    host = next((value for name, value in given if name.lower() == "host"), place.authority)
    given = [(name, value) for name, value in given if name.lower() != "host"]
    names = {name.lower() for name, _ in given}
    added = [(name, value) for name, value in _defaults(method, body) if name.lower() not in names]
    secret = not CREDENTIALS.isdisjoint(names) or (own and bool(_secrets(spec)))
    return Request(method, place, (*added, *given), body, secret, host)


def _bound(name: str) -> bool:
    """Meant for the target's own origin."""
    return name.lower() in CREDENTIALS or name.lower() == "host"


def _secrets(spec: HttpSpec) -> list[str]:
    return [name for name, _ in spec.secret_headers if name.lower() != "proxy-authorization"]


def _defaults(method: str, body: bytes | None) -> list[tuple[str, str]]:
    length = len(body) if body is not None else 0 if method in _EXPECT_A_BODY else None
    found = [
        ("User-Agent", f"probemesh/{version()}"),
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
    ]
    return found if length is None else [*found, ("Content-Length", str(length))]


def holds_back(spec: HttpSpec) -> bool:
    """Whether a request to another origin leaves credentials out."""
    return (
        bool(_secrets(spec))
        or spec.client_cert is not None
        or any(name.lower() in CREDENTIALS for name, _ in spec.headers)
    )


def asked_range(spec: HttpSpec) -> str | None:
    return next((value for name, value in spec.headers if name.lower() == "range"), None)


def shown(url: str) -> str:
    """For a sentence."""
    return url if len(url) <= _SHOWN_URL else url[: _SHOWN_URL - 1] + "…"


__all__ = [
    "CREDENTIALS",
    "Place",
    "Request",
    "asked_range",
    "build",
    "first_request",
    "holds_back",
    "place_of",
    "shown",
]
