"""What is right, and what is not, of what a diagnosis can say."""

from typing import Any

import pytest

from tests.lab.judge import judge
from tests.lab.labs import Case, library

LABS = library().labs
BASE = library().topologies["base"]


def told(
    forward: str = "reachable", reverse: str = "reachable", confidence: str = "certain", **more: Any
) -> dict[str, Any]:
    """As ``meshctl diagnose -o json`` says it, as far as it is judged."""
    alternatives = {"forward": more.get("alternatives", []), "reverse": more.get("alternatives_back", [])}
    return {
        **{
            direction: {
                "verdict": verdict,
                "confidence": confidence,
                "alternatives": alternatives[direction],
                "path_verdict": more.get("path_verdict", verdict),
                "service_verdict": more.get("service_verdict"),
            }
            for direction, verdict in (("forward", forward), ("reverse", reverse))
        },
        "findings": more.get("findings", []),
        "elapsed_s": more.get("elapsed_s", 1.0),
        "packets": 10,
    }


def finding(verdict: str, kind: str, address: str | None = None, hop: int | None = None) -> dict[str, Any]:
    place = {"kind": kind, "address": address, "hop": hop}
    return {"verdict": verdict, "direction": "forward", "confidence": "certain", "place": place}


def test_the_truth_is_right() -> None:
    judged = judge(Case(LABS["L02"], "tcp", "v4"), BASE, told("forward-drop"))
    assert judged.faults == ()
    assert [(one.right, one.right_direction, one.in_set) for one in judged.directions] == [(True,) * 3] * 2


def test_the_other_leg_is_the_wrong_direction() -> None:
    forward, reverse = judge(Case(LABS["L02"], "tcp", "v4"), BASE, told("return-drop")).directions
    assert (forward.right, forward.right_direction, forward.in_set) == (False, False, False)
    assert reverse.right


def test_the_same_leg_by_another_mechanism_is_the_right_direction() -> None:
    forward, _ = judge(Case(LABS["L02"], "tcp", "v4"), BASE, told("target-input-drop")).directions
    assert (forward.right, forward.right_direction) == (False, True)


@pytest.mark.parametrize(
    ("names", "right"),
    [(["forward-drop", "target-input-drop"], True), (["forward-drop"], False), ([], False)],
)
def test_where_a_set_is_true_the_set_has_to_be_said(names: list[str], right: bool) -> None:
    said = told("undetermined", alternatives=names)
    forward, _ = judge(Case(LABS["M04"], "tcp", "v4"), BASE, said).directions
    assert forward.right is right
    assert not forward.overclaim


def test_one_verdict_where_a_set_is_true_says_too_much() -> None:
    forward, _ = judge(Case(LABS["M04"], "tcp", "v4"), BASE, told("forward-drop")).directions
    assert forward.overclaim
    assert not forward.right


def test_with_packets_on_the_wire_the_set_is_gone() -> None:
    judged = judge(Case(LABS["M04"], "tcp", "v4", raw=True), BASE, told("forward-drop"))
    assert judged.faults == ()


@pytest.mark.parametrize(
    ("place", "right"),
    [
        (finding("forward-drop", "between", "10.1.0.1"), True),
        (finding("forward-drop", "between", None, 1), True),
        (finding("forward-drop", "hop", "198.51.100.1"), True),
        (finding("forward-drop", "hop", "203.0.113.1"), False),
        (finding("forward-drop", "target-host"), False),
    ],
)
def test_a_place_that_is_named_has_to_be_the_one(place: dict[str, Any], right: bool) -> None:
    forward, _ = judge(
        Case(LABS["L02"], "tcp", "v4"), BASE, told("forward-drop", findings=[place])
    ).directions
    assert forward.right_place is right


def test_a_healthy_network_is_not_accused() -> None:
    case = Case(LABS["M09"], "tcp", "v4")
    assert judge(case, BASE, told("forward-drop")).false_alarm
    assert not judge(case, BASE, told("loss")).false_alarm
    assert not judge(case, BASE, told("undetermined", alternatives=["loss"])).false_alarm


def test_findings_that_have_to_be_there_and_must_not() -> None:
    nat = library().topologies["nat"]
    judged = judge(Case(LABS["L14a"], "tcp", "v4"), nat, told(reverse="one-way-initiation"))
    assert judged.faults == ("forward: no finding source-nat",)


def test_a_finding_that_is_certain_has_to_be_true() -> None:
    said = told(
        "forward-drop", findings=[finding("forward-drop", "hop", None, 1), finding("loss", "hop", None, 1)]
    )
    judged = judge(Case(LABS["L02"], "tcp", "v4"), BASE, said)
    assert (judged.certain, judged.false) == (2, ("loss forward",))


def test_nothing_listens_is_what_is_true_of_a_bare_port() -> None:
    case = Case(LABS["L01"], "tcp", "v4", bare=True)
    said = told("port-closed", path_verdict="reachable", service_verdict="port-closed")
    assert judge(case, BASE, said).faults == ()
    assert judge(case, BASE, told()).faults
