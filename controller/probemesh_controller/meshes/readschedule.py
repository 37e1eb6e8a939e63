"""One ``[[schedule]]``, and budgets. Pure."""

from collections.abc import Mapping, Set

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.model import Options
from probemesh_shared.targets import check_family, count_ports, expand_ports, parse_ports
from probemesh_shared.words import Family

from probemesh_controller.meshes.cron import read_cron
from probemesh_controller.meshes.ends import MOST_PORTS, nearest
from probemesh_controller.meshes.model import SECOND_NS, Budget, Mesh, Probe, Schedule
from probemesh_controller.meshes.probes import DEFAULT, label, needs_port, parse_probe
from probemesh_controller.meshes.shape import BudgetToml
from probemesh_controller.meshes.table import Table, duration_text, shown

_HOUR_NS = 3600 * SECOND_NS
_DAY_NS = 24 * _HOUR_NS
#: What a round of cron is spread over if nothing else is said: the least that can lie between two.
_CRON_SPREAD_NS = 60 * SECOND_NS
_MS_NS = 1_000_000
_MOST_PACKETS = 1e6


def read_schedule(table: Table, meshes: Mapping[str, Mesh], unread: Set[str]) -> Schedule | None:
    """None where it cannot be made out; the report says why. Of a mesh in ``unread`` that has been said."""
    said = len(table.report.problems)
    name, mesh = table.name("schedule name"), _mesh(table, meshes, unread)
    probes, options = _probes(table), _options(table)
    every_ns, cron = _every(table, options), read_cron(table)
    if "every" in table and "cron" in table:
        table.say("cron", "every and cron exclude each other", "leave one of them out")
    elif "every" not in table and "cron" not in table:
        table.report.say(
            table.path, "this schedule does not say when", 'write every = "1m" or cron = "0 * * * *"'
        )
    spread_ns = _spread(table, every_ns)
    cycle = _cycle(table, every_ns)
    budget = read_budget(table.table("budget", BudgetToml)) if "budget" in table else Budget()
    if mesh is not None:
        _check_ports(table, mesh, probes)
        _check_families(table, mesh, options.family)
    if name is None or mesh is None or len(table.report.problems) > said:
        return None
    return Schedule(
        name, mesh, probes, options, every_ns, cron, spread_ns, cycle=cycle, budget=budget, line=table.line
    )


def read_budget(table: Table) -> Budget:
    return Budget(
        table.number("per_agent", 0.001, _MOST_PACKETS),
        table.number("per_target", 0.001, _MOST_PACKETS),
        table.number("total", 0.001, _MOST_PACKETS),
        table.line,
    )


def _mesh(table: Table, meshes: Mapping[str, Mesh], unread: Set[str]) -> Mesh | None:
    name = table.text("mesh", "the name of a mesh")
    if name is None or name in unread:
        return None
    if name not in meshes:
        table.say("mesh", f"there is no mesh '{escape(name, 60)}'", nearest(name, [*meshes, *unread]))
    return meshes.get(name)


def _probes(table: Table) -> tuple[Probe, ...]:
    if "kinds" not in table:
        return DEFAULT
    ports, found = _ports(table), dict[Probe, None]()
    for text, path in table.texts("kinds"):
        try:
            probes = parse_probe(text, ports)
        except InvalidRequest as error:
            table.report.refused(path, error)
            continue
        for probe in probes:
            if probe in found:
                table.report.say(path, f"{label(probe)} stands there twice", "leave one out")
            found[probe] = None
    return tuple(found)


def _ports(table: Table) -> tuple[int, ...]:
    found: list[int] = []
    for item, path in table.items("ports"):
        if isinstance(item, int) and not isinstance(item, bool) and 1 <= item <= 65_535:
            found.append(item)
            continue
        if not isinstance(item, str):
            table.report.say(path, f"{shown(item)} is no port", 'write 443 or "8000-8003"')
            continue
        try:
            spans = parse_ports(item)
        except InvalidRequest as error:
            table.report.refused(path, error)
            continue
        if count_ports(spans) > MOST_PORTS:
            table.report.say(path, f"{shown(item)} has too many ports", f"{MOST_PORTS} at most")
        else:
            found += expand_ports(spans)
    ports = tuple(dict.fromkeys(found))
    if len(ports) > MOST_PORTS:
        table.say("ports", f"{len(ports)} ports are too many", f"{MOST_PORTS} at most")
    return ports


def _check_ports(table: Table, mesh: Mesh, probes: tuple[Probe, ...]) -> None:
    """What goes to agents needs a port of the kind, where the pair has none."""
    bare = any(end.who is not None and not end.ports for rule in mesh.rules for end in rule.ends)
    for probe in probes:
        if bare and needs_port(probe):
            hint = f"write {probe.kind}/5432, or ports = [5432]"
            table.say("kinds", f"{probe.kind} to agents needs a port", hint)


def _check_families(table: Table, mesh: Mesh, family: Family) -> None:
    for rule in mesh.rules:
        for end in rule.ends:
            try:
                if end.target is not None:
                    check_family(family, end.target)
            except InvalidRequest as error:
                table.say("family", str(error).replace("-4", "ipv4").replace("-6 ", "ipv6 "), "leave it out")


def _options(table: Table) -> Options:
    interval_ns = table.duration_ns("interval", 10 * _MS_NS, 60 * SECOND_NS, 200 * _MS_NS)
    timeout_ns = table.duration_ns("timeout", 50 * _MS_NS, 60 * SECOND_NS, 3 * SECOND_NS)
    family = table.choice("family", [*Family])
    size, dscp = table.number("size", 0, 65_000, whole=True), table.number("dscp", 0, 63, whole=True)
    return Options(
        family=Family(family) if family else Family.BOTH,
        count=table.whole("count", 1, 1000, 3),
        interval_s=(interval_ns or 0) / SECOND_NS,
        timeout_s=(timeout_ns or 0) / SECOND_NS,
        dscp=None if dscp is None else int(dscp),
        size=None if size is None else int(size),
    )


def _every(table: Table, options: Options) -> int | None:
    every_ns = table.duration_ns("every", SECOND_NS, 30 * _DAY_NS)
    takes_s = (options.count - 1) * options.interval_s
    if every_ns is not None and takes_s * SECOND_NS > every_ns:
        samples = f"{options.count} samples {duration_text(round(options.interval_s * SECOND_NS))} apart"
        text = f"every = '{duration_text(every_ns)}' is too small: {samples} take {takes_s:g} s"
        table.say("every", text, f"at least {duration_text(-(-round(takes_s * 1000) // 1000) * SECOND_NS)}")
    return every_ns


def _spread(table: Table, every_ns: int | None) -> int:
    usual = every_ns or _CRON_SPREAD_NS
    most = every_ns or _HOUR_NS
    return table.duration_ns("spread", _MS_NS, most, usual) or usual


def _cycle(table: Table, every_ns: int | None) -> int:
    within_ns = table.duration_ns("every_pair_within", SECOND_NS, 365 * _DAY_NS)
    if within_ns is None:
        return 1
    if "cron" in table:
        table.say(
            "every_pair_within", "with cron nobody can promise that", 'write every = "…" instead of cron'
        )
        return 1
    if every_ns is not None and within_ns < every_ns:
        rounds = duration_text(every_ns)
        table.say(
            "every_pair_within",
            f"a pair cannot have its turn sooner than every {rounds}",
            f"at least {rounds}",
        )
        return 1
    return max(1, within_ns // every_ns) if every_ns else 1
