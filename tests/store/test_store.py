"""What every store promises; each test runs over both adapters."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from probemesh_controller.store.memory import MemoryStore
from probemesh_controller.store.port import (
    AgentRecord,
    CertificateRecord,
    OperatorRecord,
    RunRecord,
    Store,
    TokenRecord,
)
from probemesh_controller.store.sqlite import SqliteStore
from probemesh_shared.errors import InvalidRequest, StateError
from probemesh_shared.model import Failure, Measurement, Narrowing, PortRange, Sample, TcpDetail
from probemesh_shared.words import FailureKind, Kind, Origin, Outcome, Role, Stage


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "store.sqlite")
    yield made
    made.close()


NARROW = Narrowing(("10.0.0.0/8",), (), ("*.internal",), (PortRange(1, 2),), (Kind.TCP,), "a token")


def agent(agent_id: str = "id-1", name: str = "berlin-1", **more: object) -> AgentRecord:
    return replace(AgentRecord(agent_id, name, created_ns=5), **more)  # type: ignore[arg-type]


def measurement(index: int = 0, outcome: Outcome = Outcome.OK) -> Measurement:
    failure = Failure(Stage.CONNECT, FailureKind.REFUSED, Origin.TARGET, "RST", "ECONNREFUSED")
    return Measurement(
        kind=Kind.TCP,
        target_index=index,
        target="db.internal:5432",
        address="192.0.2.7",
        port=5432,
        outcome=outcome,
        started_ns=1_700_000_000_000_000_000,
        samples=(
            Sample(0, 0.0, 1.25, Outcome.OK, ttl=61, syn_retransmits=0),
            Sample(1, 200.5, None, Outcome.REFUSED, failure),
        ),
        failure=failure if outcome is not Outcome.OK else None,
        detail=TcpDetail(banner=b"\x00\xffSSH", local_port=40001),
        log=("one line", "zwei Zeilen: ü"),
    )


def test_an_agent_comes_back_as_it_was_put(store: Store) -> None:
    record = agent(
        site="berlin",
        labels={"env": "prod", "a": "ü"},
        ephemeral=True,
        last_seen_ns=7,
        version="0.1.0",
        addresses=("10.0.0.1", "fd00::1"),
        capabilities=("raw-socket",),
        narrow=NARROW,
    )
    store.put_agent(record)
    assert store.agent_by_id("id-1") == record
    assert store.agent_by_name("berlin-1") == record
    assert store.agents() == (record,)
    store.delete_agent("id-1")
    assert store.agent_by_id("id-1") is None


def test_absent_stays_none(store: Store) -> None:
    store.put_agent(agent())
    back = store.agent_by_id("id-1")
    assert back is not None and back.last_seen_ns is None and back.version is None and back.site is None


def test_a_name_has_one_unrevoked_holder(store: Store) -> None:
    store.put_agent(agent())
    with pytest.raises(InvalidRequest, match="berlin-1"):
        store.put_agent(agent("id-2"))
    assert store.agent_by_id("id-2") is None
    store.put_agent(agent(revoked=True))
    store.put_agent(agent("id-2", created_ns=9))
    holder = store.agent_by_name("berlin-1")
    assert holder is not None and holder.id == "id-2"
    with pytest.raises(InvalidRequest):
        store.put_agent(agent(revoked=False))


def test_the_latest_revoked_answers_for_a_name_nobody_holds(store: Store) -> None:
    store.put_agent(agent("id-1", created_ns=1, revoked=True))
    store.put_agent(agent("id-2", created_ns=2, revoked=True))
    found = store.agent_by_name("berlin-1")
    assert found is not None and found.id == "id-2"


def test_a_token_is_redeemed_as_often_as_it_says(store: Store) -> None:
    token = TokenRecord(
        "t1", "ab" * 32, Role.AGENT, expires_ns=100, uses_left=2, labels={"k": "v"}, narrow=NARROW
    )
    store.add_token(token)
    assert store.token("ab" * 32) == token
    assert store.redeem_token("ab" * 32, 50) == token
    assert store.redeem_token("ab" * 32, 99) == replace(token, uses_left=1)
    assert store.redeem_token("ab" * 32, 99) is None
    left = store.token("ab" * 32)
    assert left is not None and left.uses_left == 0


def test_an_expired_or_unknown_token_is_none(store: Store) -> None:
    store.add_token(TokenRecord("t1", "ab" * 32, Role.AGENT, expires_ns=100, uses_left=1))
    assert store.redeem_token("ab" * 32, 100) is None
    assert store.redeem_token("cd" * 32, 1) is None
    with pytest.raises(InvalidRequest):
        store.add_token(TokenRecord("t2", "ab" * 32, Role.AGENT, expires_ns=100, uses_left=1))


def test_certificates_are_revoked_by_subject(store: Store) -> None:
    for serial, subject in (("0b", "id-1"), ("0a", "id-1"), ("0c", "id-2")):
        store.add_certificate(CertificateRecord(serial, Role.AGENT, subject, "n", 9))
    assert store.revoke_certificates("id-1") == ("0a", "0b")
    assert store.revoked_serials() == {"0a", "0b"}
    found = store.certificate("0a")
    assert found is not None and found.revoked and found.role is Role.AGENT
    assert store.certificate("ff") is None
    with pytest.raises(InvalidRequest):
        store.add_certificate(CertificateRecord("0a", Role.AGENT, "id-1", "n", 9))


def test_certificates_by_their_end(store: Store) -> None:
    for serial, end in (("0a", 9), ("0b", 5), ("0c", 7)):
        store.add_certificate(CertificateRecord(serial, Role.AGENT, "id-1", "n", end, issued_ns=end))
    assert [one.serial for one in store.certificates(5)] == ["0c", "0a"]
    store.use_certificate("0a", 77)
    found = store.certificate("0a")
    assert found is not None and found.used_ns == 77
    assert store.prune_certificates(7) == 1
    assert [one.serial for one in store.certificates(0)] == ["0c", "0a"]


def test_certificates_without_an_issuer_are_adopted(store: Store) -> None:
    store.add_certificate(CertificateRecord("0a", Role.AGENT, "id-1", "n", 9))
    store.add_certificate(CertificateRecord("0b", Role.AGENT, "id-1", "n", 9, False, "new", ("new", "old")))
    store.adopt_certificates("old")
    assert {one.serial: (one.issuer, one.trust) for one in store.certificates(0)} == {
        "0a": ("old", ("old",)),
        "0b": ("new", ("new", "old")),
    }


def test_operators(store: Store) -> None:
    bob = OperatorRecord("bob", Role.VIEWER, 5, "admin/ann")
    for record in (bob, OperatorRecord("ann", Role.ADMIN)):
        store.put_operator(record)
    assert store.operator("bob") == bob and store.operator("eve") is None
    store.put_operator(replace(bob, role=Role.ADMIN, renewed_ns=7, revoked=True))
    assert store.operators() == (
        OperatorRecord("ann", Role.ADMIN),
        OperatorRecord("bob", Role.ADMIN, 5, "admin/ann", 7, True),
    )


def test_runs_come_newest_first(store: Store) -> None:
    for number in range(3):
        store.add_run(RunRecord(f"r{number}", number, "op", ("db:5432",), ("berlin-1",)))
    store.end_run("r1", 77, cancelled=True)
    assert [run.id for run in store.runs(2)] == ["r2", "r1"]
    assert store.runs(2)[1] == RunRecord("r1", 1, "op", ("db:5432",), ("berlin-1",), 77, True)
    assert store.runs(1)[0].ended_ns is None
    with pytest.raises(InvalidRequest):
        store.add_run(RunRecord("r0", 0, "op", (), ()))


def test_a_batch_is_stored_once_and_comes_back_whole(store: Store) -> None:
    rows = (measurement(0), measurement(1, Outcome.REFUSED))
    assert store.add_measurements("r1", "id-1", "j1", 0, 0, rows)
    assert not store.add_measurements("r1", "id-1", "j1", 0, 0, (measurement(9),))
    assert store.add_measurements("r1", "id-1", "j1", 0, 1, [measurement(2)])
    assert store.add_measurements("r2", "id-1", "j2", 1, 0, [measurement(3)])
    assert store.batch("j1", 0) == rows
    assert store.batch("j1", 7) is None
    stored = store.measurements("r1")
    assert [row.measurement for row in stored] == [*rows, measurement(2)]
    assert {(row.agent_id, row.job_id, row.spec_index) for row in stored} == {("id-1", "j1", 0)}
    assert store.measurements("r3") == ()


def test_in_a_group_the_call_that_raises_undoes_itself_alone(store: Store) -> None:
    with store.group():
        store.put_agent(agent("id-1"))
        with pytest.raises(InvalidRequest):
            store.put_agent(agent("id-2"))
        store.put_agent(agent("id-3", name="tokyo-1"))
    assert [record.id for record in store.agents()] == ["id-1", "id-3"]


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    with pytest.raises(StateError):
        store.agents()
