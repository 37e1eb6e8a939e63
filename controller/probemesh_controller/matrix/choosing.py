"""Which cells a matrix has: of a file's meshes, or without one of every agent to every other. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from probemesh_shared.errors import InvalidRequest, NotFound
from probemesh_shared.escape import escape
from probemesh_shared.model import AgentInfo, Options, Target
from probemesh_shared.selectors import select
from probemesh_shared.slots import Cell
from probemesh_shared.targets import check_family, parse_target
from probemesh_shared.words import Family

from probemesh_controller.matrix.batches import Task
from probemesh_controller.meshes.ends import nearest
from probemesh_controller.meshes.expanding import expand_mesh
from probemesh_controller.meshes.model import End, Mesh, MeshFile, Probe, Rule, Who
from probemesh_controller.meshes.probes import DEFAULT, needs_port, parse_probe

_ALL = Who("all", "all")
_ONLY_IN_A_FILE = "leave out --mesh, or name the file that declares it: --file FILE"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options, None where they were not given. ``to`` is a selector, or a TARGET, which has a colon."""

    mesh: str | None = None
    from_: str | None = None
    to: str | None = None
    kinds: tuple[str, ...] = ()
    count: int | None = None
    timeout_s: float | None = None
    family: Family = Family.BOTH


@dataclass(frozen=True, slots=True)
class _Part:
    """A mesh, and what is measured of it."""

    mesh: Mesh
    probes: tuple[Probe, ...]
    options: Options


def choose(file: MeshFile | None, wanted: Wanted, agents: Sequence[AgentInfo]) -> tuple[Task, ...]:
    """By cell. Raises :class:`InvalidRequest`, and :class:`NotFound` where nothing is left."""
    if file is None and wanted.mesh is not None:
        raise InvalidRequest(f"--mesh {escape(wanted.mesh, 60)} wants a file", _ONLY_IN_A_FILE)
    sources = None if wanted.from_ is None else set(_select(wanted.from_, agents))
    to = _to(wanted)
    ends = set(_select(wanted.to, agents)) if wanted.to is not None and to is None else None
    parts = [_everybody(wanted, to)] if file is None else _of_file(file, wanted)
    found: dict[Cell, Task] = {}
    for part in parts:
        for aim in expand_mesh(part.mesh, part.probes, part.options, agents).aims:
            cell = aim.cell
            if (sources is None or cell.source in sources) and _leads_to(cell, ends, to):
                found.setdefault(cell, Task(aim, part.options))
    if not found:
        raise NotFound("there is no pair to measure", _why_none(agents))
    return tuple(found[cell] for cell in sorted(found))


def _select(selector: str, agents: Sequence[AgentInfo]) -> tuple[str, ...]:
    return select(selector, None, None, agents, self_available=False)


def _leads_to(cell: Cell, ends: set[str] | None, to: Target | None) -> bool:
    if to is not None:
        return cell.target == (to.agent or to.text)
    return ends is None or cell.target in ends


def _to(wanted: Wanted) -> Target | None:
    if wanted.to is None or ":" not in wanted.to:
        return None
    target = parse_target(wanted.to)
    check_family(wanted.family, target)
    return target


def _everybody(wanted: Wanted, to: Target | None) -> _Part:
    """No agent of them, or all of them to one TARGET."""
    end, probes = End(_ALL) if to is None else _end_of(to), _probes(wanted) or DEFAULT
    for probe in probes if end.who is not None and not end.ports else ():
        if needs_port(probe):
            raise InvalidRequest(f"{probe.kind} to agents needs a port", f"write --kind {probe.kind}/22")
    return _Part(Mesh("", "full", (Rule((_ALL,), (end,)),)), probes, _options(Options(), wanted))


def _end_of(to: Target) -> End:
    if to.agent is None:
        return End(target=to)
    ports = tuple(port for span in to.ports for port in range(span.first, span.last + 1))
    return End(Who(to.agent, to.agent), ports=ports)


def _of_file(file: MeshFile, wanted: Wanted) -> list[_Part]:
    """What the schedules say of the meshes; a mesh that no schedule uses has the usual kinds."""
    by_name = {mesh.name: mesh for mesh in file.meshes}
    if wanted.mesh is not None and wanted.mesh not in by_name:
        raise NotFound(
            f"{file.name} declares no mesh '{escape(wanted.mesh, 60)}'", nearest(wanted.mesh, [*by_name])
        )
    kinds, parts = _probes(wanted), []
    for mesh in file.meshes if wanted.mesh is None else [by_name[wanted.mesh]]:
        schedules = [one for one in file.schedules if one.mesh.name == mesh.name]
        if kinds or not schedules:
            options = schedules[0].options if schedules else Options()
            parts.append(_Part(mesh, kinds or DEFAULT, _options(options, wanted)))
        else:
            parts += [_Part(mesh, one.probes, _options(one.options, wanted)) for one in schedules]
    return parts


def _probes(wanted: Wanted) -> tuple[Probe, ...]:
    found = [probe for text in wanted.kinds for probe in parse_probe(text)]
    return tuple(dict.fromkeys(found))


def _options(options: Options, wanted: Wanted) -> Options:
    return replace(
        options,
        count=options.count if wanted.count is None else wanted.count,
        timeout_s=options.timeout_s if wanted.timeout_s is None else wanted.timeout_s,
        family=options.family if wanted.family is Family.BOTH else wanted.family,
    )


def _why_none(agents: Iterable[AgentInfo]) -> str:
    several = len(list(agents)) > 1
    if not several:
        return "a matrix takes two agents: meshctl token create prints the line that joins a host"
    return "--from and --to may mean the same one, or a kind may want a port: --kind tcp/22"
