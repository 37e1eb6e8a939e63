"""What a host's counters say of a burst of n, against what they do by themselves. Pure.

A counter names a cause only where its excess is about n and at least four standard deviations of its own
rise; where the host is too busy to tell, the answer is None.
"""

import math
from dataclasses import dataclass

from probemesh_shared.model import Counter, WatchDetail

from probemesh_controller.pair.view import Probed, View

#: Of a burst of n, the share from which it counts as all of it, and up to which as none.
ALL, NONE = 0.75, 0.25
#: Standard deviations.
SURE = 4.0
#: Of two counters' noise, the share that they need not have in common.
_APART, _ALIKE = 0.25, 0.02
#: The watch's unit of quiet time, in ms.
UNIT_MS = 50.0


@dataclass(frozen=True, slots=True)
class Counts:
    """One host's counters over ``window_ms``, in which a burst of ``n`` fell."""

    counters: tuple[Counter, ...]
    window_ms: float
    n: int

    def delta(self, *names: str) -> float | None:
        """The rise of the first of these names that the kernel has."""
        found = self._find(names)
        return None if found is None else float(found.delta)

    def excess(self, *names: str) -> float | None:
        """The rise beyond what the counter does by itself."""
        found = self._find(names)
        return None if found is None else found.delta - (found.quiet_mean or 0.0) * self._units

    def mean(self, name: str) -> float:
        """What it does by itself in a unit of quiet time."""
        found = self._find((name,))
        return 0.0 if found is None else found.quiet_mean or 0.0

    def noise(self, *names: str) -> float:
        found = self._find(names)
        return 0.0 if found is None else (found.quiet_deviation or 0.0) * math.sqrt(self._units)

    def rose(self, *names: str) -> bool | None:
        """By about n (or more): True; not at all: False; in between, too noisy or not counted: None."""
        return self._is_all(self.excess(*names), self.noise(*names))

    def differ(self, more: float | None, less: float | None, noise: float) -> bool | None:
        """Whether ``more`` exceeds ``less`` by the burst."""
        return None if more is None or less is None else self._is_all(more - less, noise)

    def _is_all(self, excess: float | None, noise: float) -> bool | None:
        if excess is None or not self.n:
            return None
        if excess >= ALL * self.n and excess >= SURE * noise:
            return True
        # to say that none came, n would have to stand out of the noise
        return False if excess <= NONE * self.n and ALL * self.n >= SURE * noise else None

    @property
    def _units(self) -> float:
        return max(1.0, self.window_ms / UNIT_MS)

    def _find(self, names: tuple[str, ...]) -> Counter | None:
        return next((one for name in names for one in self.counters if one.name == name), None)


def counts_of(account: WatchDetail | None, probed: Probed, n: int) -> Counts | None:
    """The account's counters over that round; None where it has none."""
    if account is None or not account.counters or "counters" in account.blind:
        return None
    return Counts(account.counters, account.span_ms or probed.round.elapsed_ms, n)


@dataclass(frozen=True, slots=True)
class Host:
    """The counters of one IP version, by what they are about."""

    counts: Counts
    v6: bool

    def ip(self, name: str) -> str:
        return f"Ip6.{name}" if self.v6 else f"Ip.{name}"

    def icmp(self, name: str) -> str:
        return f"Icmp6.{name}" if self.v6 else f"Icmp.{name}"

    def udp(self, name: str) -> str:
        return f"Udp6.{name}" if self.v6 else f"Udp.{name}"

    def ate(self) -> bool | None:
        """Received, and delivered to nobody (forwarded is no loss)."""
        received, delivered = (
            self.counts.excess(self.ip("InReceives")),
            self.counts.excess(self.ip("InDelivers")),
        )
        noise = abs_difference(self.counts, self.ip("InReceives"), self.ip("InDelivers"))
        forwarded = self.counts.excess(*self.forwarding) or 0.0
        return self.counts.differ(received, None if delivered is None else delivered + forwarded, noise)

    def kept_in(self) -> bool | None:
        """Sent, and let out by nobody: the host's own output path ate it."""
        asked, out = self.counts.excess(self.ip("OutRequests")), self.counts.excess(self.ip("OutTransmits"))
        noise = abs_difference(self.counts, self.ip("OutRequests"), self.ip("OutTransmits"))
        forwarded = self.counts.excess(*self.forwarding) or 0.0
        return self.counts.differ(asked, None if out is None else out - forwarded, noise)

    def unsent(self) -> bool | None:
        """Datagrams made by the burst that their sockets could not send: neither TCP's nor sent ones."""
        asked, segments = self.counts.excess(self.ip("OutRequests")), self.counts.excess("Tcp.OutSegs")
        sent = self.counts.excess(self.udp("OutDatagrams"))
        noise = abs_difference(self.counts, self.ip("OutRequests"), "Tcp.OutSegs")
        less = None if segments is None or sent is None else segments + sent
        return self.counts.differ(asked, less, noise)

    @property
    def forwarding(self) -> tuple[str, ...]:
        return ("Ip6.OutForwDatagrams",) if self.v6 else ("Ip.ForwDatagrams",)


def abs_difference(counts: Counts, one: str, other: str) -> float:
    """The noise of the difference of two counters. They count the same packets, so most of their noise is
    common, and all of it where they rose alike through all the quiet time."""
    share = _APART if counts.mean(one) != counts.mean(other) else _ALIKE
    first, second = counts.noise(one), counts.noise(other)
    return abs(first - second) + share * min(first, second)


def host_of(account: WatchDetail | None, probed: Probed, view: View, n: int) -> Host | None:
    counts = counts_of(account, probed, n)
    return Host(counts, ":" in (view.address or "")) if counts is not None else None
