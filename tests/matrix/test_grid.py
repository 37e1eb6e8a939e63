"""The grid: what it looks like at every width, and that nothing looks like something else."""

import csv
import io
import json
import re
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_controller.matrix.cells import CellSeen, Matrix
from probemesh_controller.render import grid, matrixout
from probemesh_controller.render.text import width_of
from probemesh_controller.schema import schema_of
from probemesh_shared.slots import Cell
from probemesh_shared.words import Outcome, SlotState

from tests.cli.test_formats import HOSTILE
from tests.meshes.world import NOW_NS

GOLDEN = Path(__file__).parent / "golden"


def golden(name, text):
    import os

    path = GOLDEN / name
    if os.environ.get("PROBEMESH_UPDATE_GOLDEN") == "1":
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


def cell(source, target, probe="icmp", state=SlotState.OK, *, to_agent=True, **more):
    outcomes = {
        SlotState.OK: Outcome.OK,
        SlotState.FAILED: Outcome.REFUSED,
        SlotState.TIMED_OUT: Outcome.TIMEOUT,
        SlotState.DENIED: Outcome.DENIED,
        SlotState.MISSED: Outcome.UNMEASURED,
        SlotState.AGENT_LOST: Outcome.AGENT_LOST,
    }
    if state is SlotState.OK:
        more = {"sent": 3, "rtt_ms": 12.34, **more}
    if state is not None:
        more = {"outcome": outcomes[state], "at_ns": NOW_NS, **more}
    return CellSeen(Cell(source, target, probe), to_agent, state, **more)


def matrix(*cells, **more):
    return Matrix(tuple(sorted(cells, key=lambda one: one.cell)), NOW_NS, **more)


LOOKS = matrix(
    cell("berlin-1", "tokyo-1"),
    cell("tokyo-1", "berlin-1", rtt_ms=250.6, lost=1),
    cell("berlin-1", "oslo-1", state=SlotState.FAILED, reason="connection refused"),
    cell("oslo-1", "berlin-1", state=SlotState.TIMED_OUT, reason="no answer within 3 s"),
    cell("tokyo-1", "oslo-1", state=SlotState.AGENT_LOST, reason="oslo-1 does not answer"),
    cell("oslo-1", "tokyo-1", state=SlotState.MISSED, reason="the deadline came first"),
    cell("berlin-1", "icmp:192.0.2.1", to_agent=False, state=SlotState.DENIED, reason="this agent's policy"),
    cell("oslo-1", "icmp:192.0.2.1", to_agent=False, state=None),
    cell("tokyo-1", "icmp:192.0.2.1", to_agent=False, stale=True, rtt_ms=0.001),
    cell("berlin-1", "tokyo-1", "tcp/22", rtt_ms=2500.0),
    mesh="core",
)


def full(count, failing=()):
    names = [f"site{number:03d}-1" for number in range(count)]
    return matrix(
        *(
            cell(a, b, state=SlotState.TIMED_OUT if (i, j) in failing else SlotState.OK)
            for i, a in enumerate(names)
            for j, b in enumerate(names)
            if i != j
        )
    )


def test_every_look():
    golden("looks", grid.render(LOOKS, 120, color=False))


def test_what_does_not_fit_is_folded():
    golden("folded", grid.render(full(6, {(0, 5), (3, 1)}), 60, color=False))


def test_a_large_mesh_is_glyphs_under_numbers():
    golden("large", grid.render(full(30, {(0, 5), (3, 1)}), 80, color=False))


def test_wide_has_all_words_and_tells_everything():
    made = full(30, {(0, n) for n in range(1, 30)})
    shown = grid.render(made, 80, color=False, wide=True)
    assert shown.count("site000-1 → ") == 29
    assert "→✓12.3 ←✓12.3" in shown
    usual = grid.render(made, 80, color=False)
    assert usual.count("site000-1 → ") == 20
    assert "and 9 more: -o wide, or -o csv" in usual


@given(
    st.integers(1, 12),
    st.integers(40, 200),
    st.booleans(),
    st.sets(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=20),
)
def test_no_line_is_wider_than_the_terminal_and_no_target_is_left_out(count, width, color, failing):
    made = full(count + 1, failing)
    lines = re.sub(r"\x1b\[[0-9]*m", "", grid.render(made, width, color)).splitlines()
    assert all(width_of(line) <= width for line in lines)
    text = "\n".join(lines)
    for target in made.targets:
        assert target in text


def test_colour_only_repeats_what_is_said():
    plain, painted = (grid.render(LOOKS, 120, color) for color in (False, True))
    assert plain != painted
    assert re.sub(r"\x1b\[[0-9]*m", "", painted) == plain


STATES = [*SlotState, None]


@pytest.mark.parametrize("compact", [False, True], ids=["words", "glyphs"])
def test_nothing_looks_like_something_else(compact):
    """Each state, loss, and staleness of each: all are told apart without colour."""
    seen = [cell("a", "b", state=state, stale=stale) for state in STATES for stale in (False, True)]
    seen = [one for one in seen if one.state is not None or not one.stale]
    seen.append(cell("a", "b", lost=1))
    looks = [part.glyph if compact else part.text for part in map(grid.part_of, seen)]
    assert len(set(looks)) == len(looks)


def test_a_cell_without_the_way_there_shows_the_way_back():
    shown = grid.render(matrix(cell("a", "b"), cell("b", "c"), cell("c", "b")), 80, color=False)
    assert re.search(r"^b +→✓12.3 ←✓12.3$", shown, re.M) or "←✓12.3" in shown


def test_hostile_words_are_escaped():
    hostile = matrix(
        cell("a", f"icmp:{HOSTILE}", to_agent=False, state=SlotState.FAILED, reason=HOSTILE),
        cell("a", "b", state=SlotState.MISSED, reason=HOSTILE),
    )
    shown = grid.render(hostile, 120, color=False)
    assert "\x1b" not in shown and "\u202e" not in shown and "\r" not in shown
    (_, *rows) = csv.reader(io.StringIO(matrixout.csv_of(hostile)))
    assert not any(field.startswith(("=", "+", "@")) for row in rows for field in row)


def test_json_and_csv():
    value = matrixout.to_json(LOOKS)
    jsonschema.validate(json.loads(json.dumps(value)), schema_of("matrix"), jsonschema.Draft202012Validator)
    assert value["summary"] == {"ok": 4, "failed": 2, "unmeasured": 4, "total": 10}
    assert value["targets"] == ["berlin-1", "oslo-1", "tokyo-1", "icmp:192.0.2.1"]
    header, *rows = csv.reader(io.StringIO(matrixout.csv_of(LOOKS)))
    assert header == list(value["cells"][0])
    by_cell = {(row[0], row[1], row[3]): dict(zip(header, row, strict=True)) for row in rows}
    lossy = by_cell["tokyo-1", "berlin-1", "icmp"]
    assert (lossy["loss_ratio"], lossy["rtt_ms"], lossy["target_is_agent"]) == ("0.333333", "250.6", "true")
    nothing = by_cell["oslo-1", "icmp:192.0.2.1", "icmp"]
    assert (nothing["state"], nothing["at"], nothing["loss_ratio"]) == ("", "", "")
