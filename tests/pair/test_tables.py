"""The literal tables of the engine fit together."""

import pytest
from probemesh_controller.pair.causes import FLOW, Cause
from probemesh_controller.pair.registry import CAUSES, MOVES, READERS
from probemesh_shared.words import Transport, Verdict

TOLD = frozenset(name for reader in READERS for name in reader.tells)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.key)
def test_a_cause_speaks_of_signs_that_some_reader_tells(cause: Cause):
    assert set(cause.predicts) | set(cause.when) <= TOLD


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.key)
def test_what_proves_a_cause_is_what_it_predicts(cause: Cause):
    for proof in cause.proof:
        assert proof
        assert proof <= set(cause.predicts)
        assert any(cause.predicts[name] for name in proof), "something has to be seen"


def test_keys_are_unique():
    keys = [cause.key for cause in CAUSES]
    assert len(set(keys)) == len(keys)
    assert len({move.key for move in MOVES}) == len(MOVES)


@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.parametrize("question", sorted({cause.question for cause in CAUSES}))
def test_every_question_can_be_answered_with_nothing(question: str, transport: Transport):
    rows = [one for one in CAUSES if one.question == question and transport in one.transports]
    assert not rows or any(one.verdict is Verdict.REACHABLE for one in rows)


def test_moves_settle_signs_that_are_read():
    for move in MOVES:
        assert move.settles <= TOLD, move.key
    assert any(cause.question == FLOW for cause in CAUSES)
