"""A network that only reads literals, a clock, and a way to run a probe kind to its end."""

import asyncio
import ipaddress
import time
from collections.abc import Sequence
from contextlib import aclosing

from probemesh_agent.engine.loop import Engine
from probemesh_agent.env import Address, ProbeEnv, Refused, Resolution
from probemesh_agent.probes.icmp import IcmpProbe
from probemesh_agent.probes.tcp import TcpProbe
from probemesh_agent.probes.udp import UdpProbe
from probemesh_shared.model import Failure, Measurement, Options, Pacing, PortRange, Spec, Target
from probemesh_shared.words import FailureKind, Family, Kind, Origin, Stage

KINDS = {Kind.ICMP: IcmpProbe, Kind.TCP: TcpProbe, Kind.UDP: UdpProbe}


class Clock:
    monotonic = staticmethod(time.monotonic)
    perf_ns = staticmethod(time.perf_counter_ns)
    wall_ns = staticmethod(time.time_ns)
    sleep = staticmethod(asyncio.sleep)


class LiteralNetwork:
    """Allows every literal; ``hangs.test`` never resolves, ``denied.test`` is refused, other names fail."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.released = asyncio.Event()

    async def resolve(self, target: Target, options: Options, deadline: float) -> Resolution:
        host = target.host
        if host == "hangs.test":
            await self.released.wait()
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return self._name(host)
        family = Family.IPV6 if address.version == 6 else Family.IPV4
        return Resolution(host, (Address(host, family),))

    def refused_kind(self, kind: Kind) -> None:
        """Every kind may be probed, and every port."""

    def refused_port(self, port: int) -> None: ...

    def refused_ports(self, spans: Sequence[PortRange]) -> dict[int, Failure]:
        return {}

    async def sending(self, address: Address, options: Options, deadline: float) -> Options:
        """At once, from any source."""
        return options

    @staticmethod
    def _name(host: str) -> Resolution:
        kinds = {"denied.test": FailureKind.DENIED, "own.test": FailureKind.OWN_ADDRESS}
        if host in kinds:
            refusal = Failure(Stage.RESOLVE, kinds[host], Origin.AGENT, "not from here")
            return Resolution(host, (), (Refused("192.0.2.1", refusal),), refusal, 1.0, True)
        failure = Failure(Stage.RESOLVE, FailureKind.NO_SUCH_NAME, Origin.RESOLVER, "no such name")
        return Resolution(host, (), (), failure, 1.0, True)


def target(host: str, *ports: int) -> Target:
    spelled = f"[{host}]" if ":" in host else host
    text = f"{spelled}:{','.join(map(str, ports))}" if ports else host
    return Target(text, host, tuple(PortRange(port, port) for port in ports))


def env_of(engine: Engine, deadline_s: float = 20.0, pacing: Pacing | None = None) -> ProbeEnv:
    return ProbeEnv(LiteralNetwork(engine), Clock(), time.monotonic() + deadline_s, pacing or Pacing())  # type: ignore[arg-type]


async def run_kind(kind: Kind, spec: Spec, targets: Sequence[Target], env: ProbeEnv) -> list[Measurement]:
    """All rows of one run, by target and port."""
    rows: list[Measurement] = []
    async with aclosing(KINDS[kind]().run(spec, targets, env)) as batches:  # type: ignore[type-var]
        async for batch in batches:
            rows.extend(batch)
    return sorted(rows, key=lambda row: (row.target_index, row.port or 0))
