"""A request and the redirects behind it: where each hop may go, and what is told of the way.

A redirect is written by whoever answers, so its target is judged by the policy like any address, and never
loosened because a user typed the first one. To the same scheme, host and port the same address is asked
again: it is the one that was typed, or judged.
"""

from dataclasses import dataclass, field

from probemesh_shared.model import Failure, HttpHop, HttpSpec, Target
from probemesh_shared.words import FailureKind, Origin, Stage

from probemesh_agent.env import Address, ProbeEnv, ProbeFailed, ProbeLog
from probemesh_agent.net.literals import parse_literal
from probemesh_agent.probes.attempts import Unit
from probemesh_agent.probes.contexts import Contexts, TlsSettings
from probemesh_agent.probes.handshake import Handshaker, name_to_verify
from probemesh_agent.probes.httpproxy import elsewhere
from probemesh_agent.probes.httpredirect import leads_on, method_after, target_of, unfollowable
from probemesh_agent.probes.httprequest import (
    Place,
    Request,
    build,
    first_request,
    holds_back,
    place_of,
    shown,
)
from probemesh_agent.probes.httpturn import ALPN, Asker, Turn
from probemesh_agent.probes.redaction import Redaction


@dataclass(slots=True)
class Way:
    """One attempt's chain. ``turn`` is the last request, ``hops`` the answers that led to it."""

    turn: Turn | None = None
    hops: list[HttpHop] = field(default_factory=list)
    hops_ms: float = 0.0
    syn_retransmits: int | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Its last answer came, and none is left to be followed."""
        return self.turn is not None and self.turn.answer.complete

    @property
    def took_ms(self) -> float:
        return self.hops_ms + (self.turn.took_ms if self.turn else 0.0)


class HttpContexts:
    """For one run: the target's ``own`` origin sees our client certificate, others (``abroad``) do not."""

    def __init__(self, spec: HttpSpec) -> None:
        alpn, settings = ALPN.get(spec.http_version, ALPN[None]), TlsSettings.of(spec)
        self.own = Contexts(alpn, settings)
        self.abroad = Contexts(alpn, settings.anonymous)


class Chain:
    """Makes ways for one unit. ``own`` is the handshaker of the target's own origin, kept over attempts."""

    def __init__(
        self,
        spec: HttpSpec,
        unit: Unit,
        env: ProbeEnv,
        contexts: HttpContexts,
        log: ProbeLog,
        clean: Redaction,
    ) -> None:
        self._spec, self._unit, self._env = spec, unit, env
        self._contexts, self._log, self._clean = contexts, log, clean
        self.first = place_of(unit)
        self._asker = Asker(spec, env, clean)
        name = name_to_verify(unit, spec.server_name)
        self.own = self._handshaker(unit, name, contexts.own) if self.first.secure else None

    def _handshaker(self, unit: Unit, name: str, contexts: Contexts) -> Handshaker:
        contexts.get(True)  # made before any time is taken
        return Handshaker(unit, self._spec.options, self._env, contexts, self._log, name)

    async def go(self, way: Way, deadline: float) -> None:
        """Fills ``way``, whatever comes. Raises ProbeFailed where its last answer did not come whole, or
        must not be asked for."""
        request = first_request(self._spec, self.first)
        way.turn = Turn(request, self._unit.address, self._unit.dns_ms, self.own)
        if request.credentials and not self.first.secure:
            way.notes.append("credentials were sent in the clear")
        await self._ask(way, way.turn, deadline)
        seen = {(request.method, self.first.url)}
        while self._spec.follow and leads_on(way.turn.answer):
            await self._follow(way, way.turn, seen, deadline)

    async def _ask(self, way: Way, turn: Turn, deadline: float) -> None:
        try:
            await self._asker.ask(turn, deadline)
        finally:
            if turn.syn_retransmits is not None:
                way.syn_retransmits = (way.syn_retransmits or 0) + turn.syn_retransmits

    async def _follow(self, way: Way, turn: Turn, seen: set[tuple[str, str]], deadline: float) -> None:
        way.hops.append(turn.hop(self._clean))
        way.hops_ms += turn.took_ms
        way.turn = None
        number = len(way.hops)
        try:
            request = self._next(turn)
        except ProbeFailed as failed:
            raise failed.told(failed.failure, f"redirect {number}") from None
        place = request.place
        at = f"redirect {number} to {shown(self._clean.text(place.url))}"
        way.notes += _changes(self._spec, number, turn.request, request, self.first)
        if (request.method, place.url) in seen:
            raise ProbeFailed(unfollowable("it was there before: the redirects go round in a loop"), at)
        seen.add((request.method, place.url))
        if number > self._spec.follow:
            raise ProbeFailed(unfollowable(f"more than the {self._spec.follow} that were to be followed"), at)
        try:
            way.turn = await self._turn(request, deadline)
            await self._ask(way, way.turn, deadline)
        except ProbeFailed as failed:
            where = f"{at}, {failed.at}" if failed.at else at
            raise failed.told(_of_a_redirect(failed.failure), where) from None

    def _next(self, turn: Turn) -> Request:
        answer = turn.answer
        location = answer.header("location") or ""
        place = target_of(turn.request.place, location, self._clean.text(location))
        method, body = method_after(answer.status or 0, turn.request)
        return build(self._spec, self.first, place, method, body)

    async def _turn(self, request: Request, deadline: float) -> Turn:
        """Judged and ready to be asked."""
        place = request.place
        if place.origin == self.first.origin:
            return Turn(request, self._unit.address, None, self.own)
        address, dns_ms = await self._address(place, deadline)
        if not place.secure:
            return Turn(request, address, dns_ms)
        target = Target(place.url[:200], place.host, secure=True, path=place.path)
        unit = Unit(self._unit.index, target, target.text, address, place.port, dns_ms)
        handshaker = self._handshaker(unit, name_to_verify(unit, None), self._contexts.abroad)
        return Turn(request, address, dns_ms, handshaker)

    async def _address(self, place: Place, deadline: float) -> tuple[Address, float | None]:
        """The address to dial: by a proxy it is the proxy's, and only a literal can be judged here."""
        by_proxy = self._spec.proxy is not None
        network = self._env.network
        if by_proxy and (refused := network.refused_name(place.host) or network.refused_port(place.port)):
            raise ProbeFailed(refused)
        if by_proxy and parse_literal(place.host) is None:
            return self._unit.address, None
        found = await network.resolve_host(place.host, self._spec.options, deadline)
        if found.failure is not None or not found.addresses:
            raise ProbeFailed(found.failure or _nothing(place))
        if by_proxy:
            return self._unit.address, None
        same = [one for one in found.addresses if one.family is self._unit.address.family]
        return (same or list(found.addresses))[0], found.elapsed_ms if found.names_asked else None


def _nothing(place: Place) -> Failure:
    return Failure(Stage.RESOLVE, FailureKind.NO_ADDRESS, Origin.TARGET, f"{place.host[:100]}: no address")


def _of_a_redirect(failure: Failure) -> Failure:
    """A proxy's failure stays the proxy's, and what this agent cannot write its own."""
    if failure.stage is Stage.PROXY or failure.kind is FailureKind.UNSUPPORTED:
        return failure
    return elsewhere(failure, Stage.REDIRECT, Origin.TARGET)


def _changes(spec: HttpSpec, number: int, before: Request, after: Request, first: Place) -> list[str]:
    """What a redirect changes that people should know."""
    found = []
    if before.place.secure and not after.place.secure:
        found.append(f"redirect {number} leads from https to http")
    if before.method != after.method:
        found.append(f"redirect {number}: {before.method} became {after.method}")
    if after.place.origin != first.origin and holds_back(spec) and before.place.origin == first.origin:
        found.append(f"redirect {number} leads to another origin: credentials were left out")
    return found
