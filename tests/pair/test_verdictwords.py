"""Every verdict that a pair may come to has words, and an owner who can be asked for something."""

import pytest
from probemesh_controller.pair.registry import CAUSES
from probemesh_controller.render.verdictwords import WORDS, Owner, said
from probemesh_shared.words import Verdict

#: What many vantage points say of a target that is no agent.
ONE_ENDED = {
    Verdict.NOT_LISTENING,
    Verdict.SILENT_FOR_ALL,
    Verdict.SOURCE_SELECTIVE,
    Verdict.NAME_FAILS,
    Verdict.CERTIFICATE_INVALID,
    Verdict.TLS_FAILS,
    Verdict.ANSWER_UNEXPECTED,
    Verdict.NAMES_DIFFER,
    Verdict.CERTIFICATE_DIFFERS,
    Verdict.ANSWER_DIFFERS,
    Verdict.SLOW_FROM,
    Verdict.SPLIT_HORIZON,
    Verdict.SEVERAL_BACKENDS,
}


def test_every_verdict_of_a_pair_has_words():
    assert set(Verdict) - ONE_ENDED == set(WORDS)
    assert {cause.verdict for cause in CAUSES} <= set(WORDS)


@pytest.mark.parametrize("verdict", sorted(WORDS))
def test_words_can_be_filled_in(verdict):
    words = WORDS[verdict]
    for text in (words.said, words.owner.value, words.wish or ""):
        filled = text.format(near="web", far="db", flow="tcp/5432")
        assert "{" not in filled and not filled.endswith(".")


def test_who_is_asked_is_asked_for_something():
    silent = {Verdict.AGENT_LOST, Verdict.VANTAGE_IMPAIRED}
    for verdict, words in WORDS.items():
        assert (words.wish is not None) == (words.owner is not Owner.NOBODY) or verdict in silent, verdict


def test_a_code_without_words_stands_for_itself():
    assert said(Verdict.SLOW_FROM, "a", "b", "ping") == "slow-from"
