"""``limits.toml``: read in words, the last good one kept, and every entry that fits holds."""

from pathlib import Path

import pytest
from probemesh_controller.api import RunRequest
from probemesh_controller.limits import Limits, Said, read_limits
from probemesh_controller.pacing import Budget, Claim, Ledger
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

TWICE = """
[[budget]]
networks = ["10.0.0.0/8", "10.1.0.0/16"]
packets-per-s = 3
[[budget]]
networks = ["::ffff:10.0.0.0/104"]
packets-per-s = 4
"""
BUDGETS = """
[[budget]]
networks = ["10.0.0.0/8", "2001:db8::/32"]
packets-per-s = 2000
connections-per-s = 400
[[budget]]
networks = ["10.1.0.0/16"]
connections-per-s = 20
[[budget]]
networks = ["10.1.2.3", "::ffff:10.1.2.4"]
packets-per-s = 0.5
[runs]
at-once = 3
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
    words = [in_words(limit.narrowing) for limit in limits.said.limits]
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
        ("budget = 3", "[[budget]]"),
        ("[[budget]]\npackets-per-s = 3", "budget 1: networks is missing"),
        ('[[budget]]\nnetworks = ["10.0.0.0/8"]', "nothing is said of how much"),
        ("[[budget]]\nnetworks = []\npackets-per-s = 3", "networks is empty"),
        ('[[budget]]\nnetworks = ["db.internal"]\npackets-per-s = 3', "'db.internal' is no network"),
        ('[[budget]]\nnetworks = ["10.0.0.1"]\npackets_per_s = 3', "'packets_per_s' is not known"),
        ('[[budget]]\nnetworks = ["10.0.0.1"]\npackets-per-s = 0', "packets-per-s must be a number from 0.1"),
        ('[[budget]]\nnetworks = ["10.0.0.1"]\npackets-per-s = nan', "packets-per-s must be"),
        ('[[budget]]\nnetworks = ["10.0.0.1"]\nconnections-per-s = "9"', "connections-per-s must be"),
        ('[[budget]]\nnetworks = ["10.0.0.1"]\nconnections-per-s = true', "connections-per-s must be"),
        (TWICE, "10.0.0.0/8 stands in two"),
        ("runs = 3", "[runs]"),
        ("[runs]\nat_once = 3", "'at_once'"),
        ("[runs]\nat-once = 0", "at-once must be a whole number from 1 to 256"),
        ("[runs]\nat-once = 257", "from 1 to 256"),
        ("[runs]\nat-once = true", "from 1 to 256"),
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
    before = limits.said.limits
    for harm in (lambda: path.write_text("[[limit"), path.unlink):
        harm()
        assert limits.said.limits == before
        assert "stays in force" in (limits.reload() or "")
    path.write_text("")
    assert limits.said.limits == () and limits.reload() is None


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
    assert limits.said.limits == () and limits.reload() is None
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


def test_of_budgets_the_most_specific_wins(tmp_path: Path) -> None:
    of = limits_of(tmp_path / "limits.toml", BUDGETS).budget_of
    assert of("10.9.9.9") == of("2001:db8:1::9") == Budget(2000, 400)
    assert of("10.1.9.9") == Budget(500, 20), "the entry as a whole: what it does not say is as shipped"
    assert of("10.1.2.3") == of("10.1.2.4") == Budget(0.5, 100)
    assert of("192.0.2.1") == of("2001:db9::1") == Budget(500, 100)
    assert of("db.internal") == Budget(0.5, 20), "nobody knows yet where it leads"


def granted(ledger: Ledger, run: str, host: str, ports: int = 5000, *addresses: str) -> float:
    """Connections a second that one agent gets for a scan that would take all."""
    target = Target(host, host, (PortRange(1, ports),), addresses=addresses)
    plan = ledger.claim(Claim(run, (TcpSpec(),), (target,), 1, 30.0, alone=True))
    assert plan is not None
    ledger.release(run)
    return plan.pacing.connects_per_s or 0.0


def test_runs_are_held_to_what_the_file_says_of_their_targets(tmp_path: Path) -> None:
    ledger = Ledger(limits_of(tmp_path / "limits.toml", BUDGETS).budget_of)
    assert granted(ledger, "r1", "10.9.9.9") == 400
    assert granted(ledger, "r2", "10.1.9.9") == 20
    assert granted(ledger, "r3", "192.0.2.1") == 100
    assert granted(ledger, "r4", "db.internal") == 20
    ledger.learn("-", Target("db.internal", "db.internal"), "10.9.9.9")
    assert granted(ledger, "r5", "db.internal") == 400, "now somebody does"
    ledger.learn("-", Target("db.internal", "db.internal"), "10.1.0.1")
    assert granted(ledger, "r6", "db.internal") == 20, "and it may lead there, too"
    assert granted(ledger, "r7", "web", 5000, "10.9.9.9", "10.9.9.8") == 400


def test_what_changes_in_the_file_holds_for_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    limits = limits_of(path, BUDGETS)
    assert (limits.at_once(), limits.budget_of("10.1.9.9").connects_per_s) == (3, 20)
    path.write_text("[runs]\nat-once = 250\n")
    assert (limits.at_once(), limits.budget_of("10.1.9.9").connects_per_s) == (250, 100)
    path.write_text("[[budget]")
    assert limits.at_once() == 250
    path.unlink()
    assert limits.at_once() == 250 and "is gone" in (limits.reload() or "")
    path.write_text("")
    assert limits.at_once() == Said().at_once == 64
