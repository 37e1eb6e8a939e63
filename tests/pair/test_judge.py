"""The judge, with rows of its own: what is left is the answer, only what was seen is certain."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from probemesh_controller.pair.causes import Cause, proven_by
from probemesh_controller.pair.judge import judge
from probemesh_controller.pair.signs import Sign, Signs
from probemesh_shared.words import Confidence, Transport, Verdict


def _cause(verdict: Verdict, proof: tuple[tuple[str, ...], ...] = (), **predicts: bool) -> Cause:
    return Cause(verdict.value, verdict, lambda told: verdict.value, predicts, proven_by(*proof))


ROWS = (
    _cause(Verdict.FORWARD_DROP, (("short",),), silent=True, arrived=False, short=True),
    _cause(Verdict.TARGET_INPUT_DROP, (("eaten",),), silent=True, arrived=False, eaten=True, short=False),
    _cause(Verdict.RETURN_DROP, (("arrived",),), silent=True, arrived=True),
    _cause(Verdict.REACHABLE, (("answered",),), silent=False, answered=True),
)


def _signs(**known: bool | None) -> Signs:
    return Signs(Sign(name, holds) for name, holds in known.items())


def _judge(rows: tuple[Cause, ...] = ROWS, **known: bool | None):
    return judge(rows, _signs(**known), Transport.TCP)["flow"]


KNOWN = st.dictionaries(
    st.sampled_from(["silent", "arrived", "short", "eaten", "answered"]), st.sampled_from([True, False, None])
)


def test_what_no_sign_contradicts_is_the_answer():
    found = _judge(silent=True, arrived=False)
    assert found.verdicts == (Verdict.FORWARD_DROP, Verdict.TARGET_INPUT_DROP)
    assert found.verdict is Verdict.UNDETERMINED
    assert found.confidence is Confidence.POSSIBLE


def test_a_seen_sign_of_one_that_is_left_makes_it_certain():
    found = _judge(silent=True, arrived=True)
    assert (found.verdict, found.confidence) == (Verdict.RETURN_DROP, Confidence.CERTAIN)


def test_a_lone_survivor_without_proof_is_no_more_than_likely():
    found = _judge(silent=True, arrived=False, eaten=False)
    assert (found.verdict, found.confidence) == (Verdict.FORWARD_DROP, Confidence.LIKELY)


def test_open_signs_are_those_that_would_change_the_answer():
    signs = _signs(silent=True, arrived=False)
    assert judge(ROWS, signs, Transport.TCP)["flow"].open_signs(signs) == {"short", "eaten"}
    signs = _signs(silent=True, arrived=True)
    assert judge(ROWS, signs, Transport.TCP)["flow"].open_signs(signs) == frozenset()


def test_where_nothing_fits_what_comes_nearest_is_told_and_nothing_concluded():
    """One verdict alone comes nearest, and is not concluded either."""
    found = _judge(silent=True, arrived=False, short=False, eaten=False)
    assert found.strained and not found.settled
    assert set(found.verdicts) == {Verdict.FORWARD_DROP, Verdict.TARGET_INPUT_DROP, Verdict.RETURN_DROP}
    one = _judge(ROWS[:1], silent=True, arrived=True)
    assert (one.verdict, one.alternatives) == (Verdict.UNDETERMINED, (Verdict.FORWARD_DROP,))
    assert one.confidence is Confidence.POSSIBLE


def test_what_the_prober_saw_itself_is_not_in_doubt():
    """Reachable has less against it, and it was not answered."""
    found = _judge((ROWS[1], ROWS[3]), silent=True, arrived=True, eaten=False)
    assert found.verdicts == (Verdict.TARGET_INPUT_DROP,)


@given(KNOWN)
def test_the_flow_is_never_left_without_a_cause(known):
    assert _judge(**known).left


def test_what_something_rarer_looks_just_like_is_told_with_it_and_not_certain():
    row = replace(ROWS[2], like=(Verdict.ASYMMETRIC_STATEFUL,), at_most=Confidence.LIKELY)
    found = _judge((row,), silent=True, arrived=True)
    assert (found.verdict, found.confidence) == (Verdict.RETURN_DROP, Confidence.LIKELY)
    assert found.alternatives == (Verdict.RETURN_DROP, Verdict.ASYMMETRIC_STATEFUL)


def test_what_two_readers_contradict_each_other_about_is_not_known():
    signs = Signs([Sign("silent", True, ("o1",)), Sign("silent", False, ("o2",))])
    assert signs["silent"].holds is None
    assert signs["silent"].seen == ("o1", "o2")


@given(KNOWN, st.randoms())
def test_the_order_of_rows_decides_nothing(known, random):
    rows = list(ROWS)
    random.shuffle(rows)
    assert _judge(tuple(rows), **known) == _judge(**known)


@given(KNOWN, st.sets(st.sampled_from(["silent", "arrived", "short", "eaten", "answered"])))
def test_knowing_less_never_excludes_more_nor_makes_it_surer(known, masked):
    whole = _judge(**known)
    less = _judge(**{name: None if name in masked else value for name, value in known.items()})
    if whole.strained:
        return
    assert {cause.key for cause in whole.left} <= {cause.key for cause in less.left}
    if less.settled:
        assert whole.verdict is less.verdict
