"""The keys of the file, as types: what is read, what is unknown, and the JSON Schema all come from here.

Every table's class ends in ``Toml``; a key that stands in none of them is an error.
"""

from datetime import datetime
from typing import Annotated, Literal, Required, TypedDict

Duration = Annotated[str, "a number and its unit: 200ms, 30s, 5m, 1h, 2d"]
Shape = Literal["full", "disjoint", "hub", "pairs"]
Ends = Annotated[
    str | list[str],
    "agents; with a colon it is a TARGET: HOST:PORT, icmp:HOST, https://…, agent:NAME:PORT (agent or group)",
]


class MeshToml(TypedDict, total=False):
    """Who probes whom."""

    name: Required[str]
    shape: Required[Shape]
    agents: Annotated[str | list[str], "full: all of these probe each other"]
    left: Annotated[str | list[str], "disjoint: these probe the right"]
    right: Ends
    hubs: Annotated[str | list[str], "hub: these probe the rest, and are probed by it"]
    rest: Annotated[str | list[str], "hub: by default every other agent"]
    pairs: Annotated[list[list[str]], 'pairs: each ["from", "to"], that direction only']
    exclude: Annotated[
        list[str | list[str]], 'agents that take no part, and ["from", "to"] for what is not measured'
    ]
    one_way: Annotated[
        bool, "full: each two agents one way only; disjoint: left to right; hub: from the hubs"
    ]


class BudgetToml(TypedDict, total=False):
    """Packets a second that nothing may exceed."""

    per_agent: Annotated[float, "sent by one agent"]
    per_target: Annotated[float, "sent to one agent or host"]
    total: Annotated[float, "sent by all together"]


class ScheduleToml(TypedDict, total=False):
    """What a mesh measures, and when."""

    name: Required[str]
    mesh: Required[Annotated[str, "the name of a mesh"]]
    kinds: Annotated[
        list[str], "icmp, udp, tcp/PORT, udp/PORT, tls/PORT, http/PORT, https/PORT; by default icmp and udp"
    ]
    ports: Annotated[list[int | str], "for kinds that are written without a port, udp aside: 443, 8000-8003"]
    every: Duration
    cron: Annotated[str, "five fields, UTC: minute hour day month weekday"]
    spread: Annotated[str, "over which a round is spread; by default the interval, a minute for cron"]
    every_pair_within: Annotated[str, "some pairs in each round, so that each has its turn within this"]
    count: Annotated[int, "samples of one measurement, 3"]
    interval: Annotated[str, "between samples, 200ms"]
    timeout: Annotated[str, "of one attempt, 3s"]
    family: Literal["ipv4", "ipv6", "both"]
    dscp: int
    size: Annotated[int, "payload bytes of icmp and udp"]
    budget: BudgetToml


WindowToml = TypedDict(
    "WindowToml",
    {
        "name": Required[str],
        "cron": Annotated[str, "when it begins: five fields, UTC"],
        "duration": Annotated[str, "how long it lasts from each begin on: 30m, 2h"],
        "from": Annotated[datetime, "once, instead of cron: with its offset, as 2026-12-01T22:00:00Z"],
        "until": datetime,
        "schedules": Annotated[list[str], "of these schedules; by default of all"],
        "agents": Annotated[
            str | list[str], "only what these agents send or are sent; by default everything"
        ],
    },
    total=False,
)
WindowToml.__doc__ = "Maintenance: what is due then is left out."


class MeshFileToml(TypedDict, total=False):
    """Meshes and schedules of probemesh."""

    groups: Annotated[dict[str, str], "name = selector"]
    mesh: list[MeshToml]
    schedule: list[ScheduleToml]
    window: list[WindowToml]
    budget: Annotated[BudgetToml, "of all schedules together"]
