"""``limits.toml``: read in words, the last good one kept, and every entry that fits holds."""

from pathlib import Path

import pytest
from probemesh_controller.api import RunRequest
from probemesh_controller.limits import Limits, read_limits
from probemesh_controller.planning import plan
from probemesh_shared.errors import InvalidRequest, StateError
from probemesh_shared.model import AgentInfo, Narrowing, PortRange, Target, TcpSpec
from probemesh_shared.narrowing import as_table, in_words, read_narrowing
from probemesh_shared.selectors import check_standing, fits
from probemesh_shared.session.frames import NARROWS
from probemesh_shared.words import AgentState, Kind, Outcome

FILE = """
[[limit]]
for = "site=berlin+role=db,tokyo-*"
networks = ["10.1.0.0/16", "2001:db8::7"]
ports = [443, "8000-8100"]

[[limit]]
for = "all"
deny-networks = ["10.66.0.0/16"]
names = ["*.Internal."]
kinds = ["tcp"]
"""


def agent(name: str, site: str | None = None, *capabilities: str, **labels: str) -> AgentInfo:
    return AgentInfo(name, site, labels, AgentState.CONNECTED, capabilities=capabilities, id=f"id-{name}")


def limits_of(path: Path, text: str) -> Limits:
    path.write_text(text)
    return Limits(path)


def test_every_entry_that_fits_an_agent_holds_for_it_beside_its_token(tmp_path: Path) -> None:
    limits = limits_of(tmp_path / "limits.toml", FILE)
    token = Narrowing(ports=(PortRange(1, 9),), source="token")
    there = (
        agent("a", "berlin", role="db"),
        agent("b", "berlin"),
        agent("tokyo-1"),
        AgentInfo("t", narrow=(token,)),
    )
    found = {one.name: [each.source for each in one.narrow] for one in limits.applied(there)}
    first, all_ = "limits.toml (site=berlin+role=db,tokyo-*)", "limits.toml (all)"
    assert found == {"a": [first, all_], "b": [all_], "tokyo-1": [first, all_], "t": ["token", all_]}
    words = [in_words(limit.narrowing) for limit in limits.entries]
    assert words == [
        "networks 10.1.0.0/16, 2001:db8::7/128; ports 443, 8000-8100",
        "not networks 10.66.0.0/16; names *.internal; kinds tcp",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("limit = 3", "[[limit]]"),
        ("[[limits]]\n", "limits"),
        ("[[limit]\n", "not TOML"),
        ("[[limit]]\nports = [1]", "limit 1 does not say for whom"),
        ("[[limit]]\nfor = 3\nports = [1]", "for whom"),
        ('[[limit]]\nfor = "all"\n', "nothing is narrowed"),
        ('[[limit]]\nfor = "all"\nports = []', "ports is empty"),
        ('[[limit]]\nfor = "all"\nprots = [1]', "'prots' is not known"),
        ('[[limit]]\nfor = "all"\nnetworks = ["10.0.0.1/8"]', "host bits"),
        ('[[limit]]\nfor = "all"\nkinds = ["ladder"]', "rungs"),
        ('[[limit]]\nfor = "@last"\nports = [1]', "means nothing that lasts"),
        ('[[limit]]\nfor = "self"\nports = [1]', "means nothing that lasts"),
        ('[[limit]]\nfor = "a,,b"\nports = [1]', "empty part"),
        ('[[limit]]\nfor = ""\nports = [1]', "empty"),
    ],
)
def test_what_cannot_be_read_is_said_in_words(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(text)
    with pytest.raises(StateError) as raised:
        read_limits(path)
    assert says in str(raised.value) and str(path) in str(raised.value)


def test_a_file_that_breaks_or_goes_leaves_what_it_said_in_force(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    limits = limits_of(path, FILE)
    before = limits.entries
    for harm in (lambda: path.write_text("[[limit"), path.unlink):
        harm()
        assert limits.entries == before
        assert "stays in force" in (limits.reload() or "")
    path.write_text("")
    assert limits.entries == () and limits.reload() is None


def test_who_is_labelled_differently_is_narrowed_differently(tmp_path: Path) -> None:
    limits = limits_of(tmp_path / "limits.toml", FILE)
    for role, count in (("web", 1), ("db", 2), ("web", 1)):
        (found,) = limits.applied((agent("a", "berlin", role=role),))
        assert len(found.narrow) == count
    (tmp_path / "limits.toml").write_text("")
    (found,) = limits.applied((agent("a", "berlin", role="db"),))
    assert found.narrow == ()


def test_without_a_file_nothing_is_limited(tmp_path: Path) -> None:
    limits = Limits(tmp_path / "limits.toml")
    assert limits.entries == () and limits.reload() is None
    assert limits.applied((agent("a"),)) == (agent("a"),)


@pytest.mark.parametrize(
    ("selector", "fitting"),
    [
        ("all", "ab"),
        ("a", "a"),
        ("?", "ab"),
        ("nobody", ""),
        ("site=x", "a"),
        ("k=v*", "b"),
        ("site=x+k=v", ""),
        ("site=x, b", "ab"),
    ],
)
def test_a_standing_selector_fits_who_comes_later_too(selector: str, fitting: str) -> None:
    check_standing(selector)
    there = (agent("a", "x"), agent("b", k="v1"))
    assert "".join(one.name for one in there if fits(selector, one)) == fitting


def test_an_agent_that_does_not_narrow_is_sent_no_narrowed_job() -> None:
    narrow = (Narrowing(kinds=(Kind.TCP,), source="x"),)
    asked = RunRequest("r", (Target("h:1", "h", (PortRange(1, 1),)),), (TcpSpec(),), ("new", "old", "free"))
    made = plan(
        asked,
        (
            AgentInfo("new", state=AgentState.CONNECTED, capabilities=(NARROWS,), id="n", narrow=narrow),
            AgentInfo("old", state=AgentState.CONNECTED, version="0.1.0", id="o", narrow=narrow),
            AgentInfo("free", state=AgentState.CONNECTED, version="0.1.0", id="f"),
        ),
        0,
    )
    new, old, free = made.parts
    assert new.narrow == narrow and new.targets
    assert old.targets == () and [row.outcome for row in old.refused] == [Outcome.UNSUPPORTED]
    assert old.refused[0].failure is not None and "0.1.0" in old.refused[0].failure.detail
    assert free.targets and free.narrow == ()


def test_what_is_stored_reads_as_it_was_written() -> None:
    table = {
        "networks": ["10.0.0.0/8"],
        "deny-networks": ["10.1.0.0/16"],
        "names": ["*.a"],
        "ports": [1, "2-3"],
    }
    made = read_narrowing(table | {"kinds": ["tcp", "icmp"]}, "x")
    assert read_narrowing(as_table(made), "x") == made and not made.is_empty


def test_a_narrowing_has_its_bounds() -> None:
    with pytest.raises(InvalidRequest, match="256"):
        read_narrowing({"ports": list(range(1, 300))}, "x")
