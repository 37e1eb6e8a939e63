"""Kernel counters over time: their rise between looks, and what they rise by themselves.

The files are held open (they belong to the network namespace in which they were opened) and read from their
beginning each time, about 0.1 ms for all three.
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from math import sqrt
from pathlib import Path

from probemesh_shared.model import Counter

from probemesh_agent import signals

#: Fewer samples than this make no baseline.
LEAST_SAMPLES = 10
PERIOD_MS = 50.0
_MOST_PENDING = 200  # 10 s
_MOST_BYTES = 65_536
_CONNTRACK = "/proc/sys/net/netfilter/nf_conntrack_"

Columns = Mapping[bytes, Sequence[tuple[int, int]]]  # group → (column, place in the result)


class CounterFiles:
    """Raises :class:`OSError` only where this process is short of descriptors; a file that is not there
    holds no counters."""

    def __init__(self, hidden: frozenset[str] = frozenset()) -> None:
        self._fds: list[int] = []
        self.names: tuple[str, ...] = ()
        self._columns: Columns = {}
        self._listed: dict[bytes, int] = {}
        try:
            self._paired = [self._open(name) for name in signals.PAIRED]
            self._list = self._open(signals.LISTED)
        except OSError:
            self.close()
            raise
        self._find(hidden)

    def _open(self, name: str) -> int | None:
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, PermissionError):
            return None
        self._fds.append(fd)
        return fd

    def _find(self, hidden: frozenset[str]) -> None:
        files = [_read(fd) for fd in (*self._paired, self._list)]
        there = signals.counters(data.decode("ascii", "replace") for data in files)
        self.names = tuple(name for name in there if f"counter:{name}" not in hidden)
        place = {name: i for i, name in enumerate(self.names)}
        columns: dict[bytes, list[tuple[int, int]]] = {}
        for data in files[:-1]:
            for line in data.splitlines():
                group, _, rest = line.partition(b":")
                if group in columns or group.decode() not in signals.WANTED:
                    continue
                names = [f"{group.decode()}.{word.decode()}" for word in rest.split()]
                columns[group] = [(i, place[name]) for i, name in enumerate(names) if name in place]
        self._columns = columns
        self._listed = {name.replace(".", "").encode(): i for name, i in place.items() if "6." in name}

    def read(self) -> list[int]:
        """All counters now, in the order of ``names``."""
        values = [0] * len(self.names)
        for fd in self._paired:
            self._read_pairs(_read(fd), values)
        for line in _read(self._list).splitlines():
            name, _, value = line.partition(b" ")
            at = self._listed.get(name.strip())
            if at is not None:
                values[at] = int(value)
        return values

    def _read_pairs(self, data: bytes, values: list[int]) -> None:
        named: set[bytes] = set()
        for line in data.splitlines():
            group, _, rest = line.partition(b":")
            if group not in self._columns:
                continue
            if group not in named:  # the first line of a pair
                named.add(group)
                continue
            found = rest.split()
            for column, place in self._columns[group]:
                values[place] = int(found[column])

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.pop())


class CounterTrack:
    """Looks and baseline over one set of files. Samples are held back until it is said that the time they
    are of was quiet. ``now`` is in seconds."""

    def __init__(self, files: CounterFiles, now: float) -> None:
        self._files = files
        self._looked = self._sampled = files.read()
        self._looked_at = self._sampled_at = now
        count = len(files.names)
        self._sums, self._squares, self._samples = [0.0] * count, [0.0] * count, 0
        self._pending: list[tuple[float, list[int]]] = []  # how long in ms, and what rose
        self.quiet_ms = 0.0
        self.span_ms = 0.0

    def sample(self, now: float) -> None:
        """To be called every 50 ms or so."""
        elapsed_ms = (now - self._sampled_at) * 1000
        if elapsed_ms < PERIOD_MS / 2 or len(self._pending) >= _MOST_PENDING:
            return
        values = self._files.read()
        rises = [value - before for value, before in zip(values, self._sampled, strict=True)]
        self._pending.append((elapsed_ms, rises))
        self._sampled, self._sampled_at = values, now

    def begin(self) -> tuple[Counter, ...]:
        """Which there are, before anything is said of them."""
        return tuple(Counter(name) for name in self._files.names)

    def quiet(self, now: float) -> None:
        """Nothing was sent since the look before; rises are counted from now on."""
        for elapsed_ms, rises in self._pending:
            scale = PERIOD_MS / elapsed_ms
            for i, rise in enumerate(rises):
                if rise:
                    self._sums[i] += rise * scale
                    self._squares[i] += rise * scale * rise * scale
            self._samples += 1
            self.quiet_ms += elapsed_ms
        self._restart(self._files.read(), now)

    def look(self, now: float) -> tuple[Counter, ...]:
        """What rose since the look before."""
        before, self.span_ms = self._looked, (now - self._looked_at) * 1000
        values = self._files.read()
        self._restart(values, now)
        return tuple(
            Counter(name, max(0, values[i] - before[i]), *self._baseline(i))
            for i, name in enumerate(self._files.names)
        )

    def _restart(self, values: list[int], now: float) -> None:
        self._pending = []
        self._looked = self._sampled = values
        self._looked_at = self._sampled_at = now

    def _baseline(self, i: int) -> tuple[float | None, float | None]:
        count = self._samples
        if count < LEAST_SAMPLES:
            return None, None
        mean = self._sums[i] / count
        variance = max(0.0, self._squares[i] - count * mean * mean) / (count - 1)
        return max(0.0, mean), sqrt(variance)

    def __bool__(self) -> bool:
        """There is something to count."""
        return bool(self._files.names)

    def close(self) -> None:
        self._files.close()


def conntrack() -> tuple[int | None, int | None]:
    """``(entries, most)`` of connection tracking; None where this host does not tell."""
    return _number("count"), _number("max")


def _number(name: str) -> int | None:
    with contextlib.suppress(OSError, ValueError), Path(_CONNTRACK + name).open("rb") as file:
        return int(file.read(32))
    return None


def _read(fd: int | None) -> bytes:
    return b"" if fd is None else os.pread(fd, _MOST_BYTES, 0)
