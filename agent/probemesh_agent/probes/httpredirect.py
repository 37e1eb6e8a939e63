"""Where a redirect leads and what is asked there. Pure: whether it may be followed is for the policy.

Methods change as RFC 9110 §15.4 has it, and as browsers and curl do: after 303 everything but HEAD becomes
GET, after 301 and 302 POST does; 307 and 308 keep method and body.
"""

from urllib.parse import urljoin

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.model import Failure
from probemesh_shared.targets import parse_target
from probemesh_shared.words import FailureKind, Kind, Origin, Stage

from probemesh_agent.env import ProbeFailed
from probemesh_agent.probes.httpanswer import Answer
from probemesh_agent.probes.httprequest import Place, Request

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LOCATION_MOST = 2048
_SHOWN = 100


def leads_on(answer: Answer) -> bool:
    """A whole answer that asks to go elsewhere."""
    return answer.complete and answer.status in REDIRECTS and answer.header("location") is not None


def target_of(place: Place, location: str, told: str) -> Place:
    """The place that a Location names, seen from ``place``. Raises ProbeFailed for what is none; ``told`` is
    the Location as it may be told."""
    try:
        text = location.encode("latin-1").decode("utf-8")
    except UnicodeError:
        text = location
    shown = ascii(told[:_SHOWN])
    if len(location) > _LOCATION_MOST:
        raise ProbeFailed(unfollowable(f"its Location is longer than {_LOCATION_MOST} characters"))
    try:
        target = parse_target(urljoin(place.url, text.strip()))
    except (InvalidRequest, ValueError):
        detail = f"its Location {shown} is no http or https URL that can be followed"
        raise ProbeFailed(unfollowable(detail)) from None
    if target.kind is not Kind.HTTP:
        raise ProbeFailed(unfollowable(f"its Location {shown} is no http or https URL"))
    host = target.host.partition("%")[0]
    return Place(target.secure, host, target.ports[0].first, target.path or "/")


def method_after(status: int, request: Request) -> tuple[str, bytes | None]:
    """Method and body of the next request."""
    becomes_get = (status == 303 and request.method not in ("GET", "HEAD")) or (
        status in (301, 302) and request.method == "POST"
    )
    return ("GET", None) if becomes_get else (request.method, request.body)


def unfollowable(detail: str) -> Failure:
    return Failure(Stage.REDIRECT, FailureKind.ANSWER_UNEXPECTED, Origin.TARGET, detail)
