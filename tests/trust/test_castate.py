"""The phases of a change of the CA: what each trusts, and that no step it permits parts anybody."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_controller import castate
from probemesh_controller.castate import CaState, Holder, Phase, back, cut_off, finish, forward
from probemesh_shared.errors import InvalidRequest, StateError

OLD, NEW = "a" * 64, "b" * 64
STEADY = CaState(Phase.STEADY, OLD)


def test_the_way_there() -> None:
    seen = [forward(STEADY, NEW)]
    seen += [forward(seen[0])]
    seen += [forward(seen[1])]
    assert [(one.phase, one.issuing, one.trusted) for one in seen] == [
        (Phase.TRUSTED, OLD, (OLD, NEW)),
        (Phase.ISSUING, NEW, (NEW, OLD)),
        (Phase.DROPPED, NEW, (NEW,)),
    ]
    assert finish(seen[2]) == CaState(Phase.STEADY, NEW)
    with pytest.raises(InvalidRequest, match="this change is over"):
        forward(seen[2])


def test_the_way_back() -> None:
    begun = forward(STEADY, NEW)
    assert back(begun) == STEADY
    assert back(forward(begun)) == begun
    assert back(forward(forward(begun))) == forward(begun)
    with pytest.raises(InvalidRequest, match="no change of the CA is under way"):
        back(STEADY)


@pytest.mark.parametrize("state", [STEADY, forward(STEADY, NEW), forward(forward(STEADY, NEW))])
def test_only_what_was_dropped_is_forgotten(state: CaState) -> None:
    with pytest.raises(InvalidRequest, match="in phase dropped"):
        finish(state)


def renewed(holder: Holder, state: CaState) -> Holder:
    return Holder(holder.name, holder.role, state.issuing, state.trusted)


def meets(one: Holder, other: Holder) -> bool:
    """Two ends of a TLS connection."""
    return one.issuer in other.trust and other.issuer in one.trust


@given(st.lists(st.sampled_from(["forward", "back", "a", "b", "c"]), max_size=40))
def test_whoever_renews_when_it_likes_always_meets_the_controller_and_his_equals(moves: list[str]) -> None:
    """Steps are taken where nobody would be cut off, renewals come in any order and never for some: all
    connections that there could be work at every moment."""
    state = STEADY
    people = {name: renewed(Holder(name, "agent", "", ()), state) for name in "abc"}
    for move in moves:
        if move in people:
            people[move] = renewed(people[move], state)
            continue
        try:
            after = back(state) if move == "back" else forward(state, NEW)
        except InvalidRequest:
            continue
        if after.phase is Phase.STEADY and after.new != OLD:
            continue
        if not cut_off(people.values(), after):
            state = after
        controller = Holder("controller", "controller", state.issuing, state.trusted)
        assert all(meets(one, controller) for one in people.values())


def test_who_is_cut_off() -> None:
    early, taught, moved = (
        renewed(Holder("x", "agent", "", ()), state)
        for state in (STEADY, forward(STEADY, NEW), forward(forward(STEADY, NEW)))
    )
    issuing, dropped = forward(forward(STEADY, NEW)), forward(forward(forward(STEADY, NEW)))
    assert cut_off((early, taught, moved), issuing) == (early,)
    assert cut_off((early, taught, moved), dropped) == (early, taught)
    assert cut_off((early, taught, moved), STEADY) == (moved,)


def test_the_file(tmp_path: Path) -> None:
    assert castate.read_state(tmp_path) is None
    assert castate.issuing_key(tmp_path) == tmp_path / "ca.key"
    for state in (forward(STEADY, NEW), CaState(Phase.STEADY, NEW)):
        castate.write_state(tmp_path, state)
        assert castate.read_state(tmp_path) == state
        assert castate.issuing_key(tmp_path) == tmp_path / "cas" / f"{state.issuing}.key"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"schema": 1}',
        '{"schema": 2, "phase": "steady", "new": "' + NEW + '", "old": null}',
        '{"schema": 1, "phase": "trusted", "new": "' + NEW + '", "old": null}',
        '{"schema": 1, "phase": "steady", "new": "../../x", "old": null}',
        '{"schema": 1, "phase": "odd", "new": "' + NEW + '", "old": null}',
    ],
)
def test_a_damaged_file_is_a_state_error(tmp_path: Path, content: str) -> None:
    (tmp_path / castate.FILE).write_text(content)
    with pytest.raises(StateError):
        castate.read_state(tmp_path)
