"""From the cells of a matrix to what they come down to."""

import pytest
from probemesh_controller.collapse import ProbeLabel
from probemesh_controller.matrix.cells import CellSeen, Matrix
from probemesh_controller.matrix.collapsing import causes, label_of
from probemesh_controller.render.grid import render
from probemesh_controller.render.matrixout import to_json
from probemesh_shared.model import AgentInfo
from probemesh_shared.slots import Cell
from probemesh_shared.words import Outcome, SlotState

AGENTS = [AgentInfo(f"{site}-{n}", site=site) for site in ("berlin", "tokyo", "oslo") for n in (1, 2)]
NAMES = [agent.name for agent in AGENTS]


def seen(source: str, target: str, outcome: Outcome, **more: bool) -> CellSeen:
    states = {Outcome.OK: SlotState.OK, Outcome.TIMEOUT: SlotState.TIMED_OUT}
    return CellSeen(
        Cell(source, target, "tcp/5432"), True, states.get(outcome, SlotState.MISSED), outcome, 1, **more
    )


def matrix(outcomes: dict[str, Outcome], **more: bool) -> Matrix:
    """``outcomes`` by the site of the target; the rest is well."""
    cells = tuple(
        seen(a, b, outcomes.get(b.split("-")[0], Outcome.OK), **more) for a in NAMES for b in NAMES if a != b
    )
    return Matrix(cells, 1, causes=causes(cells, AGENTS))


def test_a_site_that_nobody_reaches_is_one_line() -> None:
    told = matrix({"berlin": Outcome.TIMEOUT})
    lines = render(told, 120, False).splitlines()
    at = lines.index("What fails comes down to:")
    assert lines[at + 1] == "  site berlin is reached from nobody (timeout): 10 of 10 cells"
    assert not lines[at + 2].startswith("  ")
    assert [one["failing"] for one in to_json(told)["causes"]["causes"]] == [10]


def test_a_matrix_that_is_well_comes_down_to_nothing() -> None:
    told = matrix({})
    assert "comes down to" not in render(told, 120, False)
    assert to_json(told)["causes"]["causes"] == []


def test_what_nobody_measured_or_is_old_is_no_failure() -> None:
    assert matrix({"berlin": Outcome.UNMEASURED}).causes.failing == 0
    old = matrix({"berlin": Outcome.TIMEOUT}, stale=True)
    assert (old.causes.failing, old.causes.unknown) == (0, 30)


@pytest.mark.parametrize(
    ("probe", "label"),
    [
        ("icmp", ProbeLabel("icmp")),
        ("icmp/ipv6", ProbeLabel("icmp", None, "ipv6")),
        ("tcp/5432", ProbeLabel("tcp", 5432)),
        ("udp/53/ipv4", ProbeLabel("udp", 53, "ipv4")),
        ("https/443", ProbeLabel("https", 443)),
    ],
)
def test_labels_of_probes(probe: str, label: ProbeLabel) -> None:
    assert label_of(probe) == label
