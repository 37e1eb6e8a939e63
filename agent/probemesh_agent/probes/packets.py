"""What icmp, tcp and udp have in common: targets become items of the packet engine, finished items become
rows.

Literals are fed before any name is asked for, so that a resolver that hangs holds up nobody but its own
targets."""

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import AsyncGenerator, Callable, Container, Iterable, Iterator, Sequence
from operator import attrgetter

from probemesh_shared import failures
from probemesh_shared.model import Detail, Failure, Measurement, Options, Target
from probemesh_shared.targets import count_ports, row_text
from probemesh_shared.words import FailureKind, Kind, Origin, Outcome, Stage

from probemesh_agent.engine.flight import Flight, Order
from probemesh_agent.engine.item import Item, socket_address
from probemesh_agent.engine.loop import Engine
from probemesh_agent.engine.schedule import Driver, Schedule
from probemesh_agent.env import Address, ProbeEnv, Resolution

#: More ports than this make a target a scan.
MOST_PORTS_KEPT = 8
_NAMES_AT_ONCE = 64
_LOG_LINES = 10
_OK = Outcome.OK  # Python 3.11 takes a quarter of a microsecond to look a member up
_sequence = attrgetter("seq")

_logger = logging.getLogger(__name__)


class PacketRun:
    """One run of one kind. ``ported``: targets need ports. ``judged``: the detail of a row, from what its
    driver left and why it failed."""

    def __init__(
        self,
        kind: Kind,
        options: Options,
        env: ProbeEnv,
        driver: Callable[[Schedule, Engine], Driver],
        *,
        rate_per_s: float | None,
        ported: bool,
        judged: Callable[[Item, Failure | None], Detail | None] = lambda item, failure: item.detail,
    ) -> None:
        self._kind = kind
        self._options = options
        self._env = env
        self._driver = driver
        self._rate = rate_per_s
        self._ported = ported
        self._judged = judged

    async def rows(self, targets: Sequence[Target]) -> AsyncGenerator[Sequence[Measurement], None]:
        """Rows as their items finish. Closing or cancelling it stops packets and closes sockets first."""
        budget_s = self._env.deadline - self._env.clock.monotonic()
        engine: Engine = self._env.network.engine
        connects = self._kind is Kind.TCP
        flight = engine.open(Order(self._options, budget_s, self._rate, self._driver, self._kind, connects))
        feeding = asyncio.create_task(self._feed(flight, targets))
        try:
            async with contextlib.aclosing(flight.batches()) as batches:
                async for batch in batches:
                    await self.settle(batch)
                    yield [self._row(item) for item in batch]
            await feeding
        finally:
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeding

    async def settle(self, batch: Sequence[Item]) -> None:
        """A last chance to change finished items, for a kind that has another way."""

    # --- from targets to items -----------------------------------------------------------------------------

    async def _feed(self, flight: Flight, targets: Sequence[Target]) -> None:
        names: list[tuple[int, Target]] = []
        try:
            for index, target in enumerate(targets):
                if self._ported and not target.ports:
                    detail = f"{self._kind} needs a port: write {target.host or 'HOST'}:PORT"
                    self._tell(
                        flight, index, target, None, (None,), failures.unsupported(Stage.CONNECT, detail)
                    )
                elif target.addresses or _is_literal(target.host):
                    await self._target(flight, index, target)
                else:
                    names.append((index, target))
            flight.push()
            waiting = iter(names)

            async def worker() -> None:
                for index, target in waiting:
                    await self._target(flight, index, target)
                    flight.push()

            async with asyncio.TaskGroup() as group:
                for _ in range(min(_NAMES_AT_ONCE, len(names))):
                    group.create_task(worker())
        finally:
            flight.end_feed()

    async def _target(self, flight: Flight, index: int, target: Target) -> None:
        try:
            resolution = await self._env.network.resolve(target, self._options, self._env.deadline)
            self._resolved(flight, index, target, resolution)
        except Exception:
            number = secrets.token_hex(4)
            _logger.exception("a %s probe failed by our own fault, id %s", self._kind, number)
            detail = f"this agent failed by its own fault; its log has more under {number}"
            failure = Failure(Stage.SEND, FailureKind.INTERNAL, Origin.AGENT, detail)
            self._tell(flight, index, target, None, (None,), failure)

    def _resolved(self, flight: Flight, index: int, target: Target, resolution: Resolution) -> None:
        missing: list[tuple[str | None, Failure]] = [(one.host, one.failure) for one in resolution.refused]
        if not missing and not resolution.addresses:
            nothing = resolution.failure or Failure(
                Stage.RESOLVE, FailureKind.NO_ADDRESS, Origin.RESOLVER, f"{target.host} has no address"
            )
            missing.append((None, nothing))
        for host, failure in missing:
            self._tell(flight, index, target, host, self._ports(target), failure)
        if resolution.addresses:
            refused = self._env.network.refused_ports(target.ports) if self._ported else {}
            for port, failure in refused.items():
                for address in resolution.addresses:
                    self._tell(flight, index, target, address.host, (port,), failure)
            flight.feed(self._items(index, target, resolution.addresses, refused))

    def _ports(self, target: Target) -> Iterator[int | None]:
        if not self._ported:
            yield None
            return
        for span in target.ports:
            yield from range(span.first, span.last + 1)

    def _items(
        self, index: int, target: Target, addresses: Sequence[Address], refused: Container[int | None]
    ) -> Iterable[Item]:
        if len(addresses) > 1 or self._ported:
            return self._many_items(index, target, addresses, refused)
        host, family = addresses[0].host, addresses[0].family
        return (Item(index, target.text, host, None, *socket_address(host, family, 0)),)

    def _many_items(
        self, index: int, target: Target, addresses: Sequence[Address], refused: Container[int | None]
    ) -> Iterator[Item]:
        """Made in the engine's thread, one by one, as they are wanted."""
        count = count_ports(target.ports) if self._ported else 0
        is_scan = count > MOST_PORTS_KEPT
        text_of = _texts(target, count)
        places = [(address.host, *socket_address(address.host, address.family, 0)) for address in addresses]
        for port in self._ports(target):
            if port in refused:
                continue
            text = text_of(port)
            for host, place, is_loopback in places:
                full = (place[0], port or 0, *place[2:])
                yield Item(index, text, host, port, full, is_loopback, is_scan)

    @staticmethod
    def _tell(
        flight: Flight,
        index: int,
        target: Target,
        host: str | None,
        ports: Iterable[int | None],
        failure: Failure,
    ) -> None:
        flight.tell(_finished(index, target, host, ports, failure))

    # --- from items to rows ---

    def _row(self, item: Item) -> Measurement:
        samples = item.samples
        failure: Failure | None
        if len(samples) == 1:
            outcome, failure = samples[0].outcome, samples[0].failure
        elif samples:
            samples.sort(key=_sequence)
            outcome, failure = (_OK, None) if samples[0].outcome is _OK else failures.overall(samples)
        else:
            failure = item.failure or failures.past_deadline()
            outcome = failures.outcome_of(failure)
        log = () if outcome is _OK or item.is_scan else self._log(item, failure)
        detail = self._judged(item, failure) if samples else None
        return Measurement(
            self._kind,
            item.index,
            item.text,
            item.host or None,
            item.port,
            outcome,
            item.started_ns or self._env.clock.wall_ns(),
            tuple(samples),
            failure,
            detail,
            log,
        )

    def _log(self, item: Item, failure: Failure | None) -> tuple[str, ...]:
        lines = [f"attempt {s.seq + 1}: {s.failure.detail}" for s in item.samples if s.failure is not None]
        if item.samples and item.launched < self._options.count:
            lines.append(f"attempt {item.launched + 1} and later: the run's deadline came first")
        return tuple(lines[:_LOG_LINES]) or ((failure.detail,) if failure else ())


def _finished(
    index: int, target: Target, host: str | None, ports: Iterable[int | None], failure: Failure
) -> Iterator[Item]:
    text_of = _texts(target, count_ports(target.ports))
    for port in ports:
        item = Item(index, text_of(port) if port else target.text, host, port, (), False)
        item.failure = failure
        yield item


def _is_literal(host: str) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host.partition("%")[0])
    except (OSError, ValueError):  # ValueError: a NUL inside
        return False
    return True


def _texts(target: Target, count: int) -> Callable[[int | None], str]:
    """How a row is called: as the target itself, or for one port of several with that port."""
    if count <= 1:
        return lambda port: target.text
    first = row_text(target, 1)
    if first.endswith(":1"):
        return lambda port: f"{first[:-1]}{port}"
    return lambda port: row_text(target, port)
