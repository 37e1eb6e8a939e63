"""Going through an HTTP proxy that was named: reaching it, and a tunnel by CONNECT for https.

What fails here is the proxy's or the way to it: stage ``proxy``, origin never ``target``. Variables of the
environment are nobody's concern.
"""

from collections.abc import Sequence
from dataclasses import replace

import h11
from probemesh_shared.escape import escape
from probemesh_shared.hosts import bracketed
from probemesh_shared.model import Failure, HttpSpec, PortRange, Target
from probemesh_shared.targets import expand_ports
from probemesh_shared.words import FailureKind, Kind, Origin, Stage

from probemesh_agent.env import Address, ProbeEnv, ProbeFailed, Resolution, Stream
from probemesh_agent.net.literals import parse_literal
from probemesh_agent.probes.attempts import Plan, Unit, not_tried
from probemesh_agent.probes.http1 import Reader, written
from probemesh_agent.probes.httpanswer import HEADERS_MOST, Answer
from probemesh_agent.probes.httprequest import Place, Request, shown
from probemesh_agent.probes.redaction import Redaction
from probemesh_agent.version import version

AUTHENTICATION_REQUIRED = 407
#: What proxies say where the target does not answer them, as targets do of their own.
GATEWAY = frozenset({502, 503, 504})


def proxy_place(text: str) -> tuple[str, int]:
    """``HOST:PORT`` of a spec. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ValueError("not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def proxy_headers(spec: HttpSpec) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in spec.secret_headers if pair[0].lower() == "proxy-authorization")


async def plan_by_proxy(index: int, target: Target, spec: HttpSpec, env: ProbeEnv, default_port: int) -> Plan:
    """One unit for each address of the proxy and each port. The target's name is the proxy's to resolve; an
    address is judged by the policy here, as if it were dialled."""
    started_ns = env.clock.wall_ns()
    ports = expand_ports(target.ports) or (default_port,)
    if target.addresses:
        target = replace(target, host=target.addresses[0], agent=None)

    def rows(failure: Failure) -> Plan:
        made = (not_tried(Kind.HTTP, index, target.text, None, port, failure, started_ns) for port in ports)
        return Plan(tuple(made))

    try:
        host, _ = proxy_place(spec.proxy or "")
    except ValueError:
        detail = "the proxy asked for is not HOST:PORT"
        return rows(Failure(Stage.PROXY, FailureKind.UNSUPPORTED, Origin.AGENT, detail))
    if (refused := env.network.refused_name(target.host)) is not None:
        return rows(refused)
    unasked = env.network.refused_ports([PortRange(port, port) for port in ports])
    if parse_literal(target.host) is not None:
        judged = await env.network.resolve(target, spec.options, env.deadline)
        if judged.failure is not None:
            return rows(judged.failure)
    found = await env.network.resolve(Target(host, host), spec.options, env.deadline)
    if found.failure is not None:
        failure = proxied(found.failure)
        return rows(replace(failure, detail=f"proxy {spec.proxy}: {failure.detail}"))
    told = tuple(
        not_tried(Kind.HTTP, index, target.text, None, port, failure, started_ns)
        for port, failure in unasked.items()
    )
    return Plan(told, _units(index, target, [port for port in ports if port not in unasked], found))


def _units(index: int, target: Target, ports: Sequence[int], found: Resolution) -> tuple[Unit, ...]:
    dns_ms = found.elapsed_ms if found.names_asked else None
    return tuple(
        Unit(index, target, target.text, address, port, dns_ms)
        for port in ports
        for address in found.addresses
    )


def proxied(failure: Failure) -> Failure:
    """The same as a failure of the proxy: nothing is said about the target."""
    return elsewhere(failure, Stage.PROXY, Origin.PATH)


def elsewhere(failure: Failure, stage: Stage, origin: Origin) -> Failure:
    """A failure at another place than the target, which own addresses and the resolver's silence must not be
    told as the target's."""
    kind = failure.kind
    if kind is FailureKind.OWN_ADDRESS:
        kind = FailureKind.DENIED
    if failure.stage is Stage.RESOLVE and kind is FailureKind.TIMEOUT:
        kind = FailureKind.NAME_SERVER_FAILED
    theirs = origin if failure.origin is Origin.TARGET else failure.origin
    return replace(failure, stage=stage, kind=kind, origin=theirs)


async def reach_proxy(spec: HttpSpec, address: Address, env: ProbeEnv, deadline: float) -> Stream:
    _, port = proxy_place(spec.proxy or "")
    try:
        return await env.network.connect(address, port, spec.options, deadline)
    except ProbeFailed as failed:
        raise ProbeFailed(proxied(failed.failure), f"proxy {spec.proxy}") from None


async def tunnel(
    stream: Stream, place: Place, spec: HttpSpec, env: ProbeEnv, deadline: float, clean: Redaction
) -> None:
    """Asks the proxy for a way to ``place``. Raises ProbeFailed; closing the stream is the caller's."""
    where = f"{bracketed(place.host)}:{place.port}"
    headers = (("User-Agent", f"probemesh/{version()}"), *proxy_headers(spec))
    request = Request("CONNECT", place, headers, host=where)
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADERS_MOST)
    answer = Answer()
    try:
        await stream.write(written(connection, request, where, ()), deadline)
        reader = Reader(connection, stream, answer, env.clock, deadline)
        while answer.status is None:
            await reader.step()
    except ProbeFailed as failed:
        raise ProbeFailed(proxied(failed.failure), f"proxy {spec.proxy}, asked for {where}") from None
    failure = _refusal(answer, f"CONNECT {where}", clean) or (_EARLY if connection.trailing_data[0] else None)
    if failure is not None:
        raise ProbeFailed(failure, f"proxy {spec.proxy}")


_EARLY = Failure(
    Stage.PROXY, FailureKind.BAD_ANSWER, Origin.PATH, "bytes came behind the answer to CONNECT, unasked"
)


def _refusal(answer: Answer, asked: str, clean: Redaction) -> Failure | None:
    status = answer.status or 0
    if 200 <= status <= 299:
        return None
    reason = escape(clean.text(answer.reason or ""), 60)
    detail = f"it answered {asked} with {status} {reason}".rstrip()
    if status == AUTHENTICATION_REQUIRED:
        detail += ": it wants credentials, or others"
    return Failure(Stage.PROXY, FailureKind.STATUS_UNEXPECTED, Origin.PATH, detail)


def by_a_proxy(failed: ProbeFailed, spec: HttpSpec) -> ProbeFailed:
    """No whole answer came to what a proxy was to forward: who of the two did not give one cannot be seen."""
    if failed.failure.kind is FailureKind.UNSUPPORTED:
        return failed
    failure = elsewhere(failed.failure, Stage.PROXY, Origin.UNKNOWN)
    told = failed.told(failure, f"proxy {spec.proxy}")
    if failure.origin is Origin.UNKNOWN:
        told.more += "; whether the proxy failed or the target behind it cannot be told"
    return told


def check_forwarded(answer: Answer, request: Request, spec: HttpSpec, clean: Redaction) -> None:
    """An answer that only a proxy gives. Raises ProbeFailed."""
    if answer.status != AUTHENTICATION_REQUIRED:
        return
    asked = f"{request.method} {shown(clean.text(request.place.url))}"
    failure = _refusal(answer, asked, clean)
    if failure is not None:
        raise ProbeFailed(failure, f"proxy {spec.proxy}")


def perhaps_its_own(answer: Answer, spec: HttpSpec, place: Place) -> list[str]:
    """A word on answers that a proxy gives where the target gave none."""
    if spec.proxy is None or place.secure or answer.status not in GATEWAY:
        return []
    return [f"status {answer.status} may be the answer of the proxy {spec.proxy} and not of the target"]
