"""What a file declares, read and checked, as frozen dataclasses. ``line`` is where it stands in the file.

Durations and instants are nanoseconds (``_ns``), instants since the epoch, UTC.
"""

from dataclasses import dataclass
from hashlib import blake2b

from probemesh_shared.model import Options, Target
from probemesh_shared.words import Family, Kind

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a file, or odd about it; ``hint`` is what to write instead."""

    line: int | None
    text: str
    hint: str | None = None

    def at(self, file: str) -> str:
        """``meshes.toml:12: … (did you mean …?)``."""
        place = file if self.line is None else f"{file}:{self.line}"
        return f"{place}: {self.text}" + (f" ({self.hint})" if self.hint else "")


@dataclass(frozen=True, slots=True)
class Who:
    """Agents, by selector. ``text`` is what was written: it, or the name of a group."""

    text: str
    selector: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class End:
    """Where a pair may lead: agents (``ports`` are those written, of ``agent:NAME:PORT``), or a plain TARGET;
    one of both is set."""

    who: Who | None = None
    target: Target | None = None
    ports: tuple[int, ...] = ()
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """Sources × ends, in that direction. ``both``: and back, as far as the ends are agents."""

    sources: tuple[Who, ...]
    ends: tuple[End, ...]
    both: bool = False
    #: Of each two agents one direction only, which of them by hash.
    once: bool = False
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Mesh:
    """``out`` are agents that take no part; ``never`` what is not measured, in that direction."""

    name: str
    shape: str
    rules: tuple[Rule, ...]
    out: tuple[Who, ...] = ()
    never: tuple[Rule, ...] = ()
    line: int | None = None


@dataclass(frozen=True, slots=True, order=True)
class Probe:
    """One kind of probe that a schedule asks for. ``secure``: https."""

    kind: Kind
    port: int | None = None
    secure: bool = False


@dataclass(frozen=True, slots=True)
class Budget:
    """Packets a second. None: no limit."""

    per_agent: float | None = None
    per_target: float | None = None
    total: float | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """``every_ns`` or ``cron``; ``cycle`` rounds measure every pair once."""

    name: str
    mesh: Mesh
    probes: tuple[Probe, ...]
    options: Options
    every_ns: int | None
    cron: str | None
    spread_ns: int
    cycle: int = 1
    budget: Budget = Budget()
    line: int | None = None

    @property
    def key(self) -> str:
        """What its slots are hashed with: its name and when it is due. What it measures, and how, is no part
        of it: the cell is."""
        when = f"{self.name}\0{self.every_ns}\0{self.cron}\0{self.spread_ns}\0{self.cycle}"
        return blake2b(when.encode(), digest_size=8).hexdigest()

    @property
    def family(self) -> Family:
        return self.options.family


@dataclass(frozen=True, slots=True)
class Window:
    """``cron`` and ``lasts_ns``, or ``from_ns`` and ``until_ns``. Empty ``schedules`` and ``agents``: all."""

    name: str
    cron: str | None = None
    lasts_ns: int = 0
    from_ns: int = 0
    until_ns: int = 0
    schedules: tuple[str, ...] = ()
    agents: tuple[Who, ...] = ()
    line: int | None = None


@dataclass(frozen=True, slots=True)
class MeshFile:
    """``name`` is how the file was named, for people."""

    name: str
    groups: tuple[Who, ...] = ()
    meshes: tuple[Mesh, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    windows: tuple[Window, ...] = ()
    budget: Budget = Budget()
