"""Every probe kind of this agent, in one table. A kind's module is imported when it is first asked for, so
that an idle agent holds neither dnspython nor h11 nor any certificate."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import cast

from probemesh_shared.words import Kind

from probemesh_agent.env import Probe

#: Kind → module and class, beside this one.
TABLE: Mapping[Kind, tuple[str, str]] = {
    Kind.ICMP: ("icmp", "IcmpProbe"),
    Kind.DNS: ("dns", "DnsProbe"),
    Kind.TCP: ("tcp", "TcpProbe"),
    Kind.UDP: ("udp", "UdpProbe"),
    Kind.TLS: ("tls", "TlsProbe"),
    Kind.HTTP: ("http", "HttpProbe"),
    Kind.FLOW: ("flow", "FlowProbe"),
    Kind.WATCH: ("watch", "WatchProbe"),
    Kind.TRACE: ("trace", "TraceProbe"),
    Kind.MTU: ("mtu", "MtuProbe"),
}


class Registry(Mapping[Kind, Probe]):
    """The table as a mapping from kind to its one instance."""

    def __init__(self, table: Mapping[Kind, tuple[str, str]] = TABLE) -> None:
        self._table = table
        self._made: dict[Kind, Probe] = {}

    def __getitem__(self, kind: Kind) -> Probe:
        if kind not in self._made:
            module, name = self._table[kind]
            made = getattr(import_module(f"probemesh_agent.probes.{module}"), name)()
            return self._made.setdefault(kind, cast(Probe, made))  # asked by several threads, one is kept
        return self._made[kind]

    def __contains__(self, kind: object) -> bool:
        return kind in self._table

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)
