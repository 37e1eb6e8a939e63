"""SELECTOR: who takes part, in which order, and what is said where nobody does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_shared.errors import InvalidRequest, MeshError, NotFound
from probemesh_shared.model import AgentInfo
from probemesh_shared.selectors import LastRun, check_agent, check_selection, needs_last_run, select
from probemesh_shared.words import AgentState


def agent(name, site=None, state=AgentState.CONNECTED, **labels):
    return AgentInfo(name=name, site=site, labels=labels, state=state)


FLEET = [
    agent("tokyo-1", "tokyo", role="db"),
    agent("berlin-2", "berlin", role="db"),
    agent("berlin-1", "berlin", role="web"),
    agent("berlin-3", "berlin", role="web"),
    agent("lone"),
    agent("gone", "berlin", AgentState.REVOKED),
]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("all", "lone berlin-1 berlin-2 berlin-3 tokyo-1"),
        ("self", "self"),
        ("all,self", "self lone berlin-1 berlin-2 berlin-3 tokyo-1"),
        ("berlin-*", "berlin-1 berlin-2 berlin-3"),
        ("*", "lone berlin-1 berlin-2 berlin-3 tokyo-1"),
        ("berlin-[12]", "berlin-1 berlin-2"),
        ("site=berlin", "berlin-1 berlin-2 berlin-3"),
        ("site=b*", "berlin-1 berlin-2 berlin-3"),
        ("role=db", "berlin-2 tokyo-1"),
        ("site=berlin+role=web", "berlin-1 berlin-3"),
        ("tokyo-1,site=berlin+role=db", "berlin-2 tokyo-1"),
        ("site=berlin+role=db,tokyo-1", "berlin-2 tokyo-1"),
        ("tokyo-1 , self", "self tokyo-1"),
        ("tokyo-1,tokyo-1", "tokyo-1"),
    ],
)
def test_selects(selector, names):
    assert select(selector, None, None, FLEET) == tuple(names.split())


def test_exclude_is_applied_last():
    assert select("all,self", "site=berlin,self", None, FLEET) == ("lone", "tokyo-1")
    with pytest.raises(NotFound, match="nobody is left"):
        select("site=berlin", "berlin-*", None, FLEET)


def test_an_excluded_name_that_does_not_exist_is_an_error_too():
    with pytest.raises(NotFound, match="berlin-9"):
        select("all", "berlin-9", None, FLEET)


def test_limit_spreads_over_sites_and_leaves_self_in():
    assert select("all,self", None, 3, FLEET) == ("self", "lone", "berlin-1", "tokyo-1")
    assert select("all", None, 4, FLEET) == ("lone", "berlin-1", "berlin-2", "tokyo-1")


def test_limit_takes_connected_agents_before_lost_ones():
    fleet = [agent("a-1", "a", AgentState.LOST), agent("a-2", "a"), agent("b-1", "b")]
    assert select("all", None, 2, fleet) == ("a-2", "b-1")


@given(st.permutations(FLEET), st.integers(1, 6))
def test_limit_is_the_same_whatever_order_the_fleet_comes_in(fleet, limit):
    assert select("all", None, limit, fleet) == select("all", None, limit, FLEET)


BEFORE = LastRun(
    "7f3a2c1b", frozenset({"self", "berlin-1", "tokyo-1", "gone", "left"}), frozenset({"tokyo-1", "gone"})
)


@pytest.mark.parametrize(
    ("selector", "exclude", "names"),
    [
        ("@last", None, "self berlin-1 tokyo-1"),
        ("failed", None, "tokyo-1"),
        ("@last+site=berlin", None, "berlin-1"),
        ("failed,site=berlin+role=db", None, "berlin-2 tokyo-1"),
        ("@last", "failed", "self berlin-1"),
        ("all,self", "@last", "lone berlin-2 berlin-3"),
        ("failed , self", None, "self tokyo-1"),
    ],
)
def test_the_run_before(selector, exclude, names):
    assert select(selector, exclude, None, FLEET, last=BEFORE) == tuple(names.split())
    assert needs_last_run(selector, exclude)


def test_self_of_the_run_before_only_where_it_can_be():
    assert select("@last", None, None, FLEET, self_available=False, last=BEFORE) == ("berlin-1", "tokyo-1")


@pytest.mark.parametrize("selector", ["failed", "@last", "all,failed", "site=berlin+@last"])
def test_words_that_need_a_run_before_say_so_where_there_is_none(selector):
    with pytest.raises(NotFound, match="no saved run") as caught:
        select(selector, None, None, FLEET)
    assert "meshctl probe" in caught.value.hint
    with pytest.raises(NotFound, match="no saved run"):
        select("all", selector, None, FLEET)


@pytest.mark.parametrize("selector", ["failed", "failed+site=berlin", "failed,site=oslo"])
def test_where_nothing_failed_it_says_so(selector):
    good = LastRun("7f3a2c1b", frozenset({"berlin-1"}), frozenset())
    with pytest.raises(NotFound, match="nothing failed in the last saved run \\(7f3a2c1b\\)"):
        select(selector, None, None, FLEET, last=good)
    assert select("failed,lone", None, None, FLEET, last=good) == ("lone",)
    assert select("lone", "failed", None, FLEET, last=good) == ("lone",)


def test_where_nobody_of_it_is_left_it_says_so():
    gone = LastRun("7f3a2c1b", frozenset({"gone", "left"}), frozenset({"gone"}))
    for selector in ("@last", "failed"):
        with pytest.raises(NotFound, match="there any more"):
            select(selector, None, None, FLEET, last=gone)


@pytest.mark.parametrize("selector", ["all", "site=failed", "failed-1", "last", None])
def test_what_speaks_of_no_run_before(selector):
    assert not needs_last_run(selector)


@pytest.mark.parametrize("selector", ["@first", "@", "a@last", "@last1", "@last=x"])
def test_no_other_word_of_that_kind(selector):
    with pytest.raises(InvalidRequest):
        check_selection(selector, None, None)


@pytest.mark.parametrize(
    "selector", ["", " ", ",", "all,", ",a", "a++b", "+all", "a b", "site=", "=x", "a\x1b", "a=b=c", "ü"]
)
def test_what_cannot_be_read_is_wrong_use(selector):
    with pytest.raises(InvalidRequest) as caught:
        select(selector, None, None, FLEET)
    assert str(caught.value).isprintable()
    with pytest.raises(InvalidRequest):
        select("all", selector, None, FLEET)


def test_a_part_that_cannot_be_read_is_said_before_a_name_that_nobody_bears():
    with pytest.raises(InvalidRequest, match="empty part"):
        check_selection("nobody+,site=x", None, None)
    check_selection("nobody", "nobody-either", 1)


@pytest.mark.parametrize(
    ("name", "says"), [("berlin-11", "berlin-11"), ("gone", "revoked"), ("self", "self")]
)
def test_a_target_agent_has_to_exist(name, says):
    check_agent("berlin-1", FLEET)
    with pytest.raises(NotFound, match=says):
        check_agent(name, FLEET)


@pytest.mark.parametrize(
    ("selector", "hint"),
    [
        ("berlin-11", "did you mean 'berlin-1'?"),
        ("Tokyo-1", "did you mean 'tokyo-1'?"),
        ("site=berlim", "did you mean 'berlin'?"),
        ("site=x", "known sites: berlin, tokyo"),
        ("zzz", "meshctl agents list shows them"),
        ("zzz*", "meshctl agents list shows names, sites and labels"),
    ],
)
def test_nobody_is_not_found_with_a_hint(selector, hint):
    with pytest.raises(NotFound) as caught:
        select(selector, None, None, FLEET)
    assert caught.value.hint == hint


def test_a_revoked_agent_is_named_as_such():
    with pytest.raises(NotFound, match="'gone' is revoked"):
        select("gone", None, None, FLEET)


def test_an_empty_fleet_says_how_to_join():
    with pytest.raises(NotFound) as caught:
        select("all", None, None, [])
    assert "token create" in caught.value.hint


def test_without_self_its_word_selects_nobody():
    assert select("all,self", None, None, FLEET, self_available=False)[0] == "lone"
    with pytest.raises(NotFound):
        select("self", None, None, FLEET, self_available=False)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_nobody_is_wrong_use(limit):
    with pytest.raises(InvalidRequest):
        select("all", None, limit, FLEET)


@given(st.text("abl1*=,+[]!? -@self", max_size=20))
def test_any_selector_selects_or_says_why(text):
    try:
        names = select(text, None, None, FLEET)
    except MeshError as error:
        assert str(error).isprintable()
    else:
        assert names and set(names) <= {"self", *(a.name for a in FLEET)} - {"gone"}
