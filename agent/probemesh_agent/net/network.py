"""The only way out of the process: resolves once, asks the policy about each address, and dials only what
it allowed."""

import asyncio
import errno
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from probemesh_shared import failures
from probemesh_shared.model import Failure, Options, Target
from probemesh_shared.words import FailureKind, Family, Origin, Stage

from probemesh_agent.env import Address, Clock, Nameservers, ProbeFailed, Refused, Resolution
from probemesh_agent.net import streams
from probemesh_agent.net.allowance import Allowance, asking, capped, place
from probemesh_agent.net.holder import FixedPolicy, PolicySource
from probemesh_agent.net.judge import Judge, denied, refusal
from probemesh_agent.net.literals import family_of, parse_literal, zone_missing
from probemesh_agent.net.namefiles import NameFiles, read_name_files
from probemesh_agent.net.nameservers import read_resolv_conf
from probemesh_agent.net.own import Routes
from probemesh_agent.net.policy import Limits, Policy
from probemesh_agent.net.ranges import IPAddress, Way
from probemesh_agent.net.resolver import SystemResolver
from probemesh_agent.net.sources import sourced

MOST_A_FAMILY = 8
_RESOLV_CONF = Path("/etc/resolv.conf")
_HOSTS = Path("/etc/hosts")
#: How often it is looked whether the packet engine has freed a socket.
_LOOK_AGAIN_S = 0.05
_NSSWITCH = Path("/etc/nsswitch.conf")

EngineFactory = Callable[["SystemNetwork"], Any]


class SystemNetwork(Judge):
    """:class:`probemesh_agent.env.Network` on the host's own network.

    ``policy`` is a :class:`Policy`, or a source of the one that holds now. ``engine`` makes the packet
    engine when a kind first asks for it. ``source`` is the address of probes that name none. One instance
    serves all jobs of one event loop; :meth:`close` ends its engine.
    """

    def __init__(
        self,
        clock: Clock,
        policy: Policy | PolicySource,
        *,
        engine: EngineFactory | None = None,
        resolver: SystemResolver | None = None,
        routes: Routes | None = None,
        resolv_conf: Path = _RESOLV_CONF,
        hosts: Path = _HOSTS,
        nsswitch: Path = _NSSWITCH,
        source: str | None = None,
    ) -> None:
        self.source = source
        self._clock = clock
        held = FixedPolicy(policy) if isinstance(policy, Policy) else policy
        super().__init__(held, routes or Routes(), resolv_conf)
        self._make_engine = engine or _packet_engine
        self._engine: Any = None
        self._resolver = resolver or SystemResolver()
        self._hosts, self._nsswitch = hosts, nsswitch
        self._allowance = Allowance(held.current.limits)
        self._freed = asyncio.Event()

    @property
    def limits(self) -> Limits:
        """The host owner's caps."""
        return self._policy.current.limits

    @property
    def allowance(self) -> Allowance:
        """The same, kept: whatever is sent from here is counted there."""
        limits, kept = self.limits, self._allowance.limits
        if limits is not kept and limits != kept:
            self._allowance.limit(limits)
        return self._allowance

    @property
    def may_listen(self) -> bool:
        return self._policy.current.listen

    @property
    def engine(self) -> Any:
        allowance = self.allowance
        if self._engine is None:
            self._engine = self._make_engine(self)
            allowance.engine_open = self._engine.open_of
        return self._engine

    def close(self) -> None:
        """Ends the engine's thread, where there is one; open streams belong to those who opened them."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    # --- resolving ------------------------------------------------------------------------------------

    async def resolve(self, target: Target, options: Options, deadline: float) -> Resolution:
        if target.addresses:
            return self._given(target, options)
        return await self._resolve(target.host, options, deadline, typed=True)

    async def resolve_host(self, host: str, options: Options, deadline: float) -> Resolution:
        return await self._resolve(host, options, deadline, typed=False)

    def nameservers(self, options: Options) -> Nameservers:
        conf = read_resolv_conf(self._resolv_conf)
        asked: list[Address] = []
        refused: list[Refused] = []
        for address in conf.of_family(options.family):
            decision = self.explain(address)
            if decision.rule == "deny":
                refused.append(Refused(str(address), denied(decision)))
            else:
                asked.append(Address(str(address), family_of(address)))
        return Nameservers(tuple(asked), tuple(refused), conf.search, conf.ndots)

    def name_files(self) -> NameFiles:
        return read_name_files(self._hosts, self._nsswitch)

    def _given(self, target: Target, options: Options) -> Resolution:
        found = [address for text in target.addresses if (address := parse_literal(text)) is not None]
        if target.host and target.agent is None and parse_literal(target.host) is None:
            decision = self.explain_name(target.host)
            if decision.rule == "deny":
                return Resolution(target.host, failure=denied(decision))
        return self._judged(target.host, found, options, typed=True)

    async def _resolve(self, host: str, options: Options, deadline: float, *, typed: bool) -> Resolution:
        literal = parse_literal(host)
        if literal is not None:
            return self._judged(host, [literal], options, typed=typed)
        if missing := zone_missing(host):
            detail = f"{host[:253]}: {missing}"
            return Resolution(
                host, failure=Failure(Stage.RESOLVE, FailureKind.UNSUPPORTED, Origin.AGENT, detail)
            )
        if (refused := refusal(self.explain_name(host))) is not None:
            return Resolution(host, failure=refused)
        left = deadline - self._clock.monotonic()
        if left <= 0:
            return Resolution(host, failure=failures.past_deadline())
        began = self._clock.perf_ns()
        answer = await self._resolver.resolve(host, options.family, left)
        elapsed_ms = (self._clock.perf_ns() - began) / 1e6
        if answer.failure is not None:
            return Resolution(host, failure=answer.failure, elapsed_ms=elapsed_ms, names_asked=True)
        if self._policy.current.rungs.names:
            self._resolved.note(host, answer.addresses)
        return self._judged(host, answer.addresses, options, typed=typed, elapsed_ms=elapsed_ms)

    def _judged(
        self,
        host: str,
        found: Iterable[IPAddress],
        options: Options,
        *,
        typed: bool,
        elapsed_ms: float | None = None,
    ) -> Resolution:
        allowed: list[Address] = []
        refused: list[Refused] = []
        for address in _chosen(found, options.family):
            failure = self._refused(host, address, options, typed)
            if failure is None:
                allowed.append(Address(str(address), family_of(address)))
            else:
                refused.append(Refused(str(address), failure))
        nothing = None
        if not allowed:
            nothing = refused[0].failure if refused else _no_address(host, options.family)
        return Resolution(
            host, tuple(allowed), tuple(refused), nothing, elapsed_ms, names_asked=elapsed_ms is not None
        )

    def _refused(self, host: str, address: IPAddress, options: Options, typed: bool) -> Failure | None:
        policy = self._policy.current
        seen: dict[IPAddress, Way] = {}

        def way_of(asked: IPAddress) -> Way:
            return seen.setdefault(asked, self._routes.way(asked))

        decision = policy.explain(address, way_of, typed)
        if not decision.allowed:
            return denied(decision)
        if (unnamed := self.unnamed(host, address)) is not None:
            return denied(unnamed)
        if options.source is None and way_of(address) is Way.NO_ROUTE:
            return failures.from_errno(Stage.CONNECT, errno.ENETUNREACH, at_once=True)
        return None

    # --- dialling -------------------------------------------------------------------------------------

    async def connect(
        self, address: Address, port: int, options: Options, deadline: float
    ) -> streams.TcpStream:
        if (refused := self.refused_port(port)) is not None:
            raise ProbeFailed(refused)
        release = await self.admit(address, deadline, connects=True)
        options = sourced(options, self.source, address.host)
        try:
            stream = await streams.connect(address, port, options, self._clock, deadline)
        except BaseException:
            release()
            raise
        stream.when_closed(release)
        if (refused := self.stranger(address, stream.peer)) is not None:
            await stream.close()
            raise ProbeFailed(refused)
        return stream

    async def datagrams(
        self, address: Address, port: int, options: Options, deadline: float
    ) -> streams.UdpSocket:
        if (refused := self.refused_port(port)) is not None:
            raise ProbeFailed(refused)
        release = await self.admit(address, deadline, connects=False)
        options = sourced(options, self.source, address.host)
        try:
            made = streams.UdpSocket(address, port, options, self._clock)
        except BaseException:
            release()
            raise
        made.when_closed(release)
        return made

    async def sending(self, address: Address, options: Options, deadline: float) -> Options:
        await self._paced(address, deadline, connects=False)
        return sourced(options, self.source, address.host)

    async def admit(self, address: Address, deadline: float, *, connects: bool) -> Callable[[], None]:
        kind = asking.get()
        while (full := self.allowance.full(kind)) is not None:
            left = deadline - self._clock.monotonic()
            if left <= 0:
                raise ProbeFailed(full)
            await self._freed_within(min(left, _LOOK_AGAIN_S))
        self._allowance.opened(kind)

        def release() -> None:
            self._allowance.closed(kind)
            self._freed.set()

        try:
            await self._paced(address, deadline, connects=connects)
        except BaseException:
            release()
            raise
        return release

    async def _freed_within(self, seconds: float) -> None:
        """The packet engine frees sockets without telling."""
        self._freed.clear()
        waiting = asyncio.ensure_future(self._freed.wait())
        try:
            await asyncio.wait({waiting}, timeout=seconds)
        finally:
            waiting.cancel()

    async def _paced(self, address: Address, deadline: float, *, connects: bool) -> None:
        """The rates one after the other, so that waiting for one takes nothing from the next."""
        allowance, key = self.allowance, place(address.host)
        rates = [(rate, "") for rate in allowance.rates(asking.get(), connects)]
        if key is not None and (to_one := allowance.target(connects)) is not None:
            rates.insert(0, (to_one, key))
        for rate, key in rates:
            now = self._clock.monotonic()
            at = rate.book(now, deadline, key)
            if at is None:
                raise ProbeFailed(capped(f"{rate.words} are allowed, and no more"))
            if at - now >= 0.001:
                await self._clock.sleep(at - now)


def _packet_engine(network: SystemNetwork) -> Any:
    from probemesh_agent.engine.loop import Engine  # only where packets are sent

    return Engine(source=network.source, allowance=network.allowance)


def _chosen(found: Iterable[IPAddress], family: Family) -> list[IPAddress]:
    """At most eight of each family that is asked for, in the order given, without doubles."""
    counts = {Family.IPV4: 0, Family.IPV6: 0}
    chosen: list[IPAddress] = []
    for address in dict.fromkeys(found):
        own = family_of(address)
        if family in (Family.BOTH, own) and counts[own] < MOST_A_FAMILY:
            counts[own] += 1
            chosen.append(address)
    return chosen


def _no_address(host: str, family: Family) -> Failure:
    detail = f"{host[:253]}: no address of family {family}"
    return Failure(Stage.RESOLVE, FailureKind.NO_ADDRESS, Origin.TARGET, detail)
