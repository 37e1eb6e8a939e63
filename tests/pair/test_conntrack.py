"""A full table of connections. The kernel keeps one limit for all network namespaces, so no lab can lower it;
a recorded case of a host that drops what comes in is told that its table was full, or what it held."""

from dataclasses import replace

import pytest
from probemesh_controller.pair.case import Case
from probemesh_controller.pair.conclude import conclude
from probemesh_shared.model import WatchDetail
from probemesh_shared.words import Confidence, PlaceKind, Verdict

from tests.pair.scenario import load

MOST = 65_536


def tracking(case: Case, held: int | None, most: int | None) -> Case:
    """As if the target's agent had read these."""

    def told(account: WatchDetail | None) -> WatchDetail | None:
        return None if account is None else replace(account, conntrack=held, conntrack_most=most)

    target = case.ends[1]
    rounds = tuple(
        replace(
            done,
            looks=tuple(
                replace(look, account=told(look.account)) if look.agent == target.name else look
                for look in done.looks
            ),
        )
        for done in case.rounds
    )
    return replace(case, ends=(case.ends[0], replace(target, armed=told(target.armed))), rounds=rounds)


def test_a_full_table_is_why_new_flows_are_dropped() -> None:
    found = conclude(tracking(load("input-drop-tcp")[0], MOST, MOST)).forward
    assert (found.verdict, found.confidence) == (Verdict.CONNTRACK_FULL, Confidence.CERTAIN)


def test_its_place_proof_and_next_test() -> None:
    told = conclude(tracking(load("input-drop-tcp")[0], MOST, MOST))
    (one,) = [finding for finding in told.findings if finding.verdict is Verdict.CONNTRACK_FULL]
    assert one.place is not None and one.place.kind is PlaceKind.TARGET_HOST
    assert any(f"tracks {MOST} of at most {MOST}" in shown.text for shown in one.evidence)
    assert one.next_test is not None and "nf_conntrack_max" in one.next_test
    assert Verdict.TARGET_INPUT_DROP in {one.verdict for one in told.excluded}


@pytest.mark.parametrize("held", [0, MOST // 2])
def test_a_table_with_room_drops_nothing(held: int) -> None:
    told = conclude(tracking(load("input-drop-tcp")[0], held, MOST)).forward
    assert told.verdict is Verdict.TARGET_INPUT_DROP


@pytest.mark.parametrize(("held", "most"), [(None, None), (None, MOST), (MOST, None), (0, 0)])
def test_a_host_that_does_not_tell_is_not_called_full(held: int | None, most: int | None) -> None:
    told = conclude(tracking(load("input-drop-tcp")[0], held, most)).forward
    assert told.verdict is Verdict.TARGET_INPUT_DROP


def test_a_full_table_at_a_host_that_is_reached_is_nobodys_fault() -> None:
    told = conclude(tracking(load("healthy-tcp")[0], MOST, MOST))
    assert told.forward.verdict is Verdict.REACHABLE
    assert Verdict.CONNTRACK_FULL not in {one.verdict for one in told.findings}


def test_what_is_lost_before_the_host_is_not_blamed_on_its_table() -> None:
    told = conclude(tracking(load("forward-drop-tcp")[0], MOST, MOST)).forward
    assert told.verdict is Verdict.FORWARD_DROP
