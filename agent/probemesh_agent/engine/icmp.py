"""ICMP echo for one run: which socket serves which target.

One socket for each family; where the agent has a source address of its own, loopback targets and the others
have different ones."""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from probemesh_shared import failures
from probemesh_shared.model import Failure, IcmpDetail, Options, Sample
from probemesh_shared.words import Family

from probemesh_agent.engine.echo import CROWD, EchoSocket
from probemesh_agent.engine.item import Item
from probemesh_agent.engine.line import Line
from probemesh_agent.engine.schedule import Schedule, Shortage
from probemesh_agent.engine.sockets import CannotOpen
from probemesh_agent.net.sources import sourced

if TYPE_CHECKING:
    from probemesh_agent.engine.loop import Engine

DEFAULT_SIZE = 56
_IPV6, _LOOPBACK = 1, 2  # bits of an item's route
_perf_ns = time.perf_counter_ns


class IcmpDriver:
    """Pings for one run."""

    most_open: int | None = 16_384
    burst = CROWD

    def __init__(self, schedule: Schedule, engine: Engine, options: Options) -> None:
        self._schedule = schedule
        self._engine = engine
        self._options = options
        self._size = DEFAULT_SIZE if options.size is None else options.size
        self._lines: dict[int, Line] = {}
        self._failures: dict[int, Failure] = {}

    @property
    def schedule(self) -> Schedule:
        return self._schedule

    @property
    def is_stalled(self) -> bool:
        return any(line.is_stalled for line in self._lines.values())

    def start(self, items: Sequence[Item], seq: int, now: float) -> list[tuple[Item, Failure]]:
        """See :class:`probemesh_agent.engine.schedule.Driver`. Requests leave at once, together."""
        if seq == 0:
            self._route(items)
        routes: dict[int, list[Item]] = {}
        for item in items:
            routes.setdefault(item.route, []).append(item)
        short: list[tuple[Item, Failure]] = []
        for route, group in routes.items():
            try:
                line = self._lines.get(route) or self._open(route, group[0])
            except Shortage as shortage:
                short += [(item, shortage.failure) for item in group]
                continue
            if line is None:
                self._cannot(group, seq, self._failures[route])
                continue
            if seq == 0:
                line.address(group)
            line.add(group, seq, now)
        return short

    def flush(self, now: float) -> None:
        for line in self._lines.values():
            line.flush()

    def close(self) -> None:
        for line in self._lines.values():
            self._engine.unwatch(line.fd)
            line.close()
        self._lines.clear()

    def _route(self, items: Sequence[Item]) -> None:
        wall_ns, perf_ns = time.time_ns(), _perf_ns()
        splits = self._engine.source is not None
        for item in items:
            item.started_ns, item.base_ns = wall_ns, perf_ns
            item.route = (_IPV6 if len(item.address) == 4 else 0) | (
                _LOOPBACK if splits and item.is_loopback else 0
            )

    def _open(self, route: int, item: Item) -> Line | None:
        if route in self._failures:
            return None
        options = sourced(self._options, self._engine.source, item.host)
        try:
            echo = EchoSocket(Family.IPV6 if route & _IPV6 else Family.IPV4, options, self._size)
        except CannotOpen as error:
            self._failures[route] = error.failure
            return None
        detail = IcmpDetail(echo.method, self._size)
        line = self._lines[route] = Line(self._schedule, echo, detail, route, self._engine.sender)
        self._engine.watch(echo.fd, select.EPOLLIN | select.EPOLLERR, line.on_event)
        return line

    def _cannot(self, items: Sequence[Item], seq: int, failure: Failure) -> None:
        outcome = failures.outcome_of(failure)
        for item in items:
            offset_ms = (_perf_ns() - item.base_ns) / 1e6
            self._schedule.sample(item, Sample(seq, offset_ms, None, outcome, failure))
