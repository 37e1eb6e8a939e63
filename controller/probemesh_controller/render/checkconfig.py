"""What ``meshctl controller check-config`` says of a file: as text, and as the JSON contract has it. Pure."""

from collections.abc import Sequence

from probemesh_shared.escape import escape
from probemesh_shared.jsonmesh import (
    CheckConfigJson,
    DueJson,
    ProblemJson,
    RateJson,
    ScheduleJson,
    WindowJson,
)
from probemesh_shared.moments import time_text
from probemesh_shared.slots import Slot

from probemesh_controller.meshes.explaining import Explained, ScheduleExplained
from probemesh_controller.meshes.model import SECOND_NS, Problem, Schedule, Window
from probemesh_controller.meshes.probes import label
from probemesh_controller.meshes.table import duration_text
from probemesh_controller.render.text import counted, paint


def render(explained: Explained, color: bool) -> str:
    """Of a file that can be read. What is wrong with it against the mesh stands at the end."""
    file = explained.file
    by_name = {one.schedule.name: one for one in explained.schedules}
    lines: list[str] = []
    for schedule in file.schedules:
        lines += _schedule(schedule, by_name.get(schedule.name), color)
    for window in file.windows:
        lines.append(paint(f"window {window.name}", "bold", color) + f": {_when_closed(window)}")
    for style, mark, problems in (("warn", "▲", explained.warnings), ("bad", "✕", explained.over)):
        lines += [paint(f"{mark} {escape(one.at(file.name), 1000)}", style, color) for one in problems]
    if not lines:
        lines.append(f"{file.name} declares no schedule")
    return "\n".join(lines) + "\n"


def problems_text(file: str, problems: Sequence[Problem], color: bool) -> str:
    """Of a file that cannot be read: one line each."""
    return "".join(paint(f"✕ {escape(one.at(file), 1000)}", "bad", color) + "\n" for one in problems)


def to_json(explained: Explained) -> CheckConfigJson:
    by_name = {one.schedule.name: one for one in explained.schedules}
    file = explained.file
    return {
        "schema": 1,
        "file": file.name,
        "usable": True,
        "agents": explained.agents,
        "problems": [],
        "warnings": [_problem(one) for one in explained.warnings],
        "over_budget": [_problem(one) for one in explained.over],
        "schedules": [_schedule_json(one, by_name.get(one.name)) for one in file.schedules],
        "windows": [_window_json(one) for one in file.windows],
    }


def problems_json(file: str, problems: Sequence[Problem]) -> CheckConfigJson:
    return {
        "schema": 1,
        "file": file,
        "usable": False,
        "agents": None,
        "problems": [_problem(one) for one in problems],
        "warnings": [],
        "over_budget": [],
        "schedules": [],
        "windows": [],
    }


# --- as text ---


def _schedule(schedule: Schedule, found: ScheduleExplained | None, color: bool) -> list[str]:
    probes = ", ".join(label(probe, schedule.family) for probe in schedule.probes)
    mesh = f"mesh {schedule.mesh.name} ({schedule.mesh.shape})"
    lines = [paint(f"schedule {schedule.name}", "bold", color) + f": {mesh}, {_when(schedule)}: {probes}"]
    if found is None:
        return lines
    hourly = f"{found.slots_an_hour:,.0f} slots an hour".replace(",", " ")
    lines.append(f"  {counted(found.pairs, 'pair')}, {counted(found.cells, 'cell')}, {hourly}")
    if found.cells:
        lines.append(f"  {_rates(found)}")
    lines += [
        f"  {'next ' if not number else '     '}{_instant(slot.due_ns)}  {_cell(slot)}"
        for number, slot in enumerate(found.first)
    ]
    return lines


def _when(schedule: Schedule) -> str:
    if schedule.every_ns is None:
        return f"cron {schedule.cron} UTC, spread over {duration_text(schedule.spread_ns)}"
    spread = "" if schedule.spread_ns == schedule.every_ns else f" over {duration_text(schedule.spread_ns)}"
    turn = duration_text(schedule.every_ns * schedule.cycle)
    sampled = f", each pair once in {turn}" if schedule.cycle > 1 else ""
    return f"every {duration_text(schedule.every_ns)}{spread}{sampled}"


def _rates(found: ScheduleExplained) -> str:
    parts = [f"{found.rates.total:.3g} packets/s in all"]
    for words, most in (("from", found.rates.busiest_agent), ("to", found.rates.busiest_target)):
        if most is not None:
            parts.append(f"at most {most[1]:.3g} {words} one ({escape(most[0], 60)})")
    return ", ".join(parts)


def _cell(slot: Slot) -> str:
    return f"{slot.cell.source} → {escape(slot.cell.target, 80)}  {slot.cell.probe}"


def _instant(at_ns: int) -> str:
    return time_text(at_ns)[:23] + "Z"


def _when_closed(window: Window) -> str:
    of = f" for {', '.join(window.schedules)}" if window.schedules else ""
    who = f", agents {', '.join(who.text for who in window.agents)}" if window.agents else ""
    if window.cron is not None:
        return f"cron {window.cron} UTC, {duration_text(window.lasts_ns)} each{of}{who}"
    return f"{_instant(window.from_ns)} to {_instant(window.until_ns)}{of}{who}"


# --- as JSON ---


def _problem(problem: Problem) -> ProblemJson:
    return {"line": problem.line, "text": problem.text, "hint": problem.hint}


def _schedule_json(schedule: Schedule, found: ScheduleExplained | None) -> ScheduleJson:
    cycled = schedule.every_ns is not None and schedule.cycle > 1
    return {
        "name": schedule.name,
        "mesh": schedule.mesh.name,
        "shape": schedule.mesh.shape,
        "probes": [label(probe, schedule.family) for probe in schedule.probes],
        "every_s": _seconds(schedule.every_ns),
        "cron": schedule.cron,
        "spread_s": schedule.spread_ns / SECOND_NS,
        "every_pair_within_s": _seconds((schedule.every_ns or 0) * schedule.cycle) if cycled else None,
        "pairs": found.pairs if found else None,
        "cells": found.cells if found else None,
        "slots_per_hour": round(found.slots_an_hour, 3) if found else None,
        "packets_per_s": round(found.rates.total, 3) if found else None,
        "busiest_agent": _rate(found.rates.busiest_agent) if found else None,
        "busiest_target": _rate(found.rates.busiest_target) if found else None,
        "first_due": [_due(slot) for slot in found.first] if found else [],
    }


def _due(slot: Slot) -> DueJson:
    cell = slot.cell
    return {"at": time_text(slot.due_ns), "source": cell.source, "target": cell.target, "probe": cell.probe}


def _rate(most: tuple[str, float] | None) -> RateJson | None:
    return None if most is None else {"name": most[0], "packets_per_s": round(most[1], 3)}


def _window_json(window: Window) -> WindowJson:
    once = window.cron is None
    return {
        "name": window.name,
        "cron": window.cron,
        "duration_s": None if once else _seconds(window.lasts_ns),
        "begins": time_text(window.from_ns) if once else None,
        "ends": time_text(window.until_ns) if once else None,
        "schedules": list(window.schedules),
    }


def _seconds(value_ns: int | None) -> float | None:
    return None if value_ns is None else value_ns / SECOND_NS
