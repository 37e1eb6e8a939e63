"""One ``[[mesh]]``. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from probemesh_shared.escape import escape

from probemesh_controller.meshes.ends import Reader
from probemesh_controller.meshes.lines import Path
from probemesh_controller.meshes.model import End, Mesh, Rule, Who
from probemesh_controller.meshes.shape import Shape
from probemesh_controller.meshes.table import Table, shown

SHAPES: tuple[str, ...] = get_args(Shape)
#: Keys of each shape; the first ones must be there.
_NEEDS = {"full": ("agents",), "disjoint": ("left", "right"), "hub": ("hubs",), "pairs": ("pairs",)}
_MAY = {"hub": ("rest",)}
_EVERYBODY = Who("all", "all")


def read_mesh(table: Table, reader: Reader) -> Mesh | None:
    """None where it cannot be made out; the report says why."""
    said = len(table.report.problems)
    name, shape = table.name("mesh name"), table.choice("shape", SHAPES)
    if shape is None:
        return None
    _check_keys(table, shape)
    rules = _rules(table, reader, shape)
    out, never = _excluded(table, reader)
    if shape == "hub" and "rest" not in table:
        hubs = rules[0].sources
        never = (*never, Rule(hubs, tuple(End(hub) for hub in hubs)))
    if name is None or len(table.report.problems) > said:
        return None
    return Mesh(name, shape, rules, out, never, table.line)


def _check_keys(table: Table, shape: str) -> None:
    for other, keys in _NEEDS.items():
        for key in (*keys, *_MAY.get(other, ())):
            if key in table and other != shape:
                table.say(key, f"{key} belongs to the shape {other}, and this one is {shape}", _write(shape))
    for key in _NEEDS[shape]:
        if key not in table:
            table.report.say(table.path, f"a mesh of shape {shape} needs {key}", _write(shape))
    if shape == "pairs" and "one_way" in table:
        table.say("one_way", "pairs are one way each as they are written", "leave it out")


def _write(shape: str) -> str:
    example = '[["berlin-1", "tokyo-1"]]' if shape == "pairs" else '"site=berlin"'
    return "write " + " and ".join(f"{key} = {example}" for key in _NEEDS[shape])


def _rules(table: Table, reader: Reader, shape: str) -> tuple[Rule, ...]:
    one_way = table.flag("one_way")
    match shape:
        case "full":
            agents = reader.agents(table, "agents")
            return (Rule(agents, tuple(map(End, agents)), once=one_way, line=table.line),)
        case "disjoint":
            left, right = reader.agents(table, "left"), reader.ends(table, "right")
            return (Rule(left, right, both=not one_way, line=table.line),)
        case "hub":
            hubs, rest = reader.agents(table, "hubs"), reader.agents(table, "rest") or (_EVERYBODY,)
            return (Rule(hubs, tuple(map(End, rest)), both=not one_way, line=table.line),)
    return tuple(_pairs(table, reader))


def _pairs(table: Table, reader: Reader) -> Iterator[Rule]:
    seen: dict[tuple[str, str], int | None] = {}
    for item, path in table.items("pairs"):
        two = _two(table, item, path)
        if two is None:
            continue
        line = table.report.lines.of(path)
        if two in seen:
            where = f" on line {seen[two]}" if seen[two] not in (None, line) else ""
            shown = " → ".join(escape(text, 60) for text in two)
            table.report.say(
                path, f"the pair {shown} stands there twice", f"it is already{where or ' there'}"
            )
            continue
        seen[two] = line
        if (rule := _rule(reader, two, path)) is not None:
            yield rule


def _excluded(table: Table, reader: Reader) -> tuple[tuple[Who, ...], tuple[Rule, ...]]:
    out, never = [], []
    for item, path in table.items("exclude", alone=True):
        if isinstance(item, str):
            if (who := reader.who(item, path)) is not None:
                out.append(who)
        elif (two := _two(table, item, path)) is not None and (rule := _rule(reader, two, path)) is not None:
            never.append(rule)
    return tuple(out), tuple(never)


def _rule(reader: Reader, two: tuple[str, str], path: Path) -> Rule | None:
    source, end = reader.who(two[0], path), reader.end(two[1], path)
    if source is None or end is None:
        return None
    return Rule((source,), (end,), line=reader.report.lines.of(path))


def _two(table: Table, item: Any, path: Path) -> tuple[str, str] | None:
    if isinstance(item, Sequence) and not isinstance(item, str) and len(item) == 2:
        first, second = item
        if isinstance(first, str) and isinstance(second, str):
            return first, second
    table.report.say(path, f"{shown(item)} is no pair", 'write ["from", "to"]')
    return None
