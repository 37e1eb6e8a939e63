"""Backup, restore and compact: nothing is overwritten, nothing unfit is put in place, a running controller is
never disturbed."""

import asyncio
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from probemesh_controller.remote import RemoteMesh
from probemesh_controller.store import copies
from probemesh_controller.store.copies import NAME, back_up, compact, restore
from probemesh_controller.store.lock import StateLock
from probemesh_controller.store.matrix.port import HOUR_NS, Retention, Series, SlotRow
from probemesh_controller.store.port import AgentRecord, CertificateRecord, OperatorRecord, TokenRecord
from probemesh_controller.store.sqlite import SqliteStore
from probemesh_shared.errors import InvalidRequest, StateError
from probemesh_shared.words import Role, SlotState

from tests.controller.test_served import Served, client, served

__all__ = ["client", "served"]
NOW_NS = 1_795_000_000_000_000_000
T0 = 500_000 * HOUR_NS
A = Series("s", "id-1", "b:1", "tcp/1")


def silent(_share: float) -> None: ...


def rows(first: int, end: int) -> list[tuple[Series, SlotRow]]:
    return [(A, SlotRow(n, T0 + n * 10**9, SlotState.OK, 1.0 + n % 9, 3, 0)) for n in range(first, end)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "controller"
    made.mkdir()
    store = SqliteStore(made / NAME)
    store.put_agent(AgentRecord("id-1", "berlin-1"))
    store.add_slots(rows(0, 500))
    store.close()
    return made


def names(folder: Path) -> list[str]:
    with SqliteStoreOf(folder) as store:
        return [agent.name for agent in store.agents()]


class SqliteStoreOf:
    def __init__(self, folder: Path) -> None:
        self._store = SqliteStore(folder / NAME)

    def __enter__(self) -> SqliteStore:
        return self._store

    def __exit__(self, *_error: object) -> None:
        self._store.close()


def test_there_and_back(folder: Path, tmp_path: Path) -> None:
    told: list[float] = []
    copied = back_up(folder, tmp_path / "b", told.append)
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600
    assert copied.bytes == (tmp_path / "b").stat().st_size and told[-1] == 1
    with SqliteStoreOf(folder) as store:
        store.put_agent(AgentRecord("id-2", "tokyo-1"))
        store.add_slots(rows(500, 600))
    put_back = restore(folder, tmp_path / "b", NOW_NS, silent)
    assert names(folder) == ["berlin-1"]
    with SqliteStoreOf(folder) as store:
        assert store.slots(A, 0, T0 * 2) == tuple(row for _, row in rows(0, 500))
    assert put_back.kept is not None and put_back.kept.name == f"{NAME}.before-restore-20261118T110640Z"
    assert put_back.kept.stat().st_mode & 0o777 == 0o600
    put_back.kept.rename(folder / NAME)
    assert names(folder) == ["berlin-1", "tokyo-1"]
    assert sorted(path.name for path in folder.iterdir()) == ["lock", NAME]


def test_a_backup_while_the_store_is_written_is_of_one_moment(folder: Path, tmp_path: Path) -> None:
    over = threading.Event()
    stored = [0]

    def write() -> None:
        with SqliteStoreOf(folder) as store:
            while not over.is_set():
                start = 500 + 50 * stored[0]
                with store.group():
                    store.add_slots(rows(start, start + 25))
                    store.add_slots(rows(start + 25, start + 50))
                stored[0] += 1
                store.upkeep(T0 + (start + 50) * 1_000_000_000, Retention())

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(5):
            before = stored[0]
            back_up(folder, tmp_path / f"b{number}", silent)
            found = SqliteStore(tmp_path / f"b{number}")
            slots = found.slots(A, 0, T0 * 2)
            found.close()
            assert [slot.number for slot in slots] == list(range(len(slots)))
            assert len(slots) % 50 == 0 and len(slots) >= 500 + 50 * before
    finally:
        over.set()
        thread.join()
    assert stored[0] > 0


async def test_a_running_controller_is_backed_up_and_not_restored_nor_compacted(
    served: Served, client: RemoteMesh, tmp_path: Path
) -> None:
    folder = served.state / "controller"
    copied = await asyncio.to_thread(back_up, folder, tmp_path / "b", silent)
    assert copied.bytes > 0
    for refused in (restore, compact):
        arguments = (tmp_path / "b", NOW_NS, silent) if refused is restore else (silent,)
        with pytest.raises(StateError, match="another controller"):
            await asyncio.to_thread(refused, folder, *arguments)  # type: ignore[arg-type]
    assert [path.name for path in folder.glob(f"{NAME}.*")] == []
    assert await client.agents() == ()


def test_a_file_that_is_there_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "b").write_text("mine")
    with pytest.raises(InvalidRequest, match="exists"):
        back_up(folder, tmp_path / "b", silent)
    assert (tmp_path / "b").read_text() == "mine"


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    for call in (lambda: back_up(tmp_path, tmp_path / "b", silent), lambda: compact(tmp_path, silent)):
        with pytest.raises(StateError, match="no store"):
            call()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_damaged_store_gives_no_backup(folder: Path, tmp_path: Path) -> None:
    _damage(folder / NAME)
    with pytest.raises(StateError, match="damaged"):
        back_up(folder, tmp_path / "b", silent)
    assert not list(tmp_path.glob("b*"))


def _damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 4096 * 6)


@pytest.mark.parametrize("what", ["foreign", "newer", "damaged", "text", "empty", "missing", "folder"])
def test_what_is_unfit_is_not_put_in_place(folder: Path, tmp_path: Path, what: str) -> None:
    file, said = tmp_path / "b", "not put in place"
    if what == "foreign":
        sqlite3.connect(file).execute("CREATE TABLE theirs (x)").connection.close()
    elif what == "text":
        file.write_text("no database at all" * 100)
    elif what == "empty":
        file.touch()
    elif what == "folder":
        file.mkdir()
        said = "cannot be copied"
    elif what == "missing":
        said = "cannot be copied"
    else:
        back_up(folder, file, silent)
        if what == "damaged":
            _damage(file)
        else:
            db = sqlite3.connect(file)
            db.execute("PRAGMA user_version = 999")
            db.close()
    before = (folder / NAME).read_bytes()
    content = file.read_bytes() if file.is_file() else b""
    with pytest.raises(InvalidRequest, match=said):
        restore(folder, file, NOW_NS, silent)
    assert (folder / NAME).read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["lock", NAME]
    assert not file.is_file() or file.read_bytes() == content


def test_a_plain_copy_with_its_log_is_put_back_whole(folder: Path, tmp_path: Path) -> None:
    with SqliteStoreOf(folder) as store:
        store.put_agent(AgentRecord("id-2", "tokyo-1"))  # is in the log alone
        for name in (NAME, f"{NAME}-wal"):
            (tmp_path / name).write_bytes((folder / name).read_bytes())
    (folder / NAME).unlink()
    assert restore(folder, tmp_path / NAME, NOW_NS, silent).kept is None
    assert names(folder) == ["berlin-1", "tokyo-1"]


def test_a_damaged_store_can_be_replaced_and_is_kept_with_its_log(folder: Path, tmp_path: Path) -> None:
    back_up(folder, tmp_path / "b", silent)
    _damage(folder / NAME)
    (folder / f"{NAME}-wal").write_bytes(b"what is left of a log")
    damaged = (folder / NAME).read_bytes()
    copied = restore(folder, tmp_path / "b", NOW_NS, silent)
    assert copied.kept is not None and copied.taken_back is None
    assert copied.kept.read_bytes() == damaged
    assert names(folder) == ["berlin-1"]


def test_trust_that_was_taken_back_stays_so(folder: Path, tmp_path: Path) -> None:
    certificate = CertificateRecord("01", Role.AGENT, "id-1", "berlin-1", NOW_NS)
    token = TokenRecord("t", "ab" * 32, Role.AGENT, NOW_NS, 3)
    with SqliteStoreOf(folder) as store:
        store.add_certificate(certificate)
        store.add_token(token)
        store.put_operator(OperatorRecord("bob", Role.ADMIN))
    back_up(folder, tmp_path / "b", silent)
    with SqliteStoreOf(folder) as store:
        store.put_agent(AgentRecord("id-1", "berlin-1", revoked=True))
        store.add_certificate(replace(certificate, serial="02"))
        store.revoke_certificates("id-1")
        store.redeem_token(token.secret_sha256, 0)
        store.put_operator(OperatorRecord("bob", Role.ADMIN, revoked=True))
    assert restore(folder, tmp_path / "b", NOW_NS, silent).taken_back == 5
    with SqliteStoreOf(folder) as store:
        assert store.revoked_serials() == {"01", "02"}
        (agent,), (operator,) = store.agents(), store.operators()
        assert agent.revoked and operator.revoked
        left = store.token(token.secret_sha256)
        assert left is not None and left.uses_left == 2


def test_compacting_gives_back_what_forgetting_left(folder: Path) -> None:
    with SqliteStoreOf(folder) as store:
        for start in range(0, 60_000, 5_000):
            store.add_slots(rows(start, start + 5_000))
        while store.upkeep(T0 + 60 * HOUR_NS, Retention()):
            pass
        kept = store.slots(A, 0, T0 * 2)
    size = (folder / NAME).stat().st_size
    done = compact(folder, silent)
    assert done.before == size and done.after == (folder / NAME).stat().st_size < size / 2
    assert (folder / NAME).stat().st_mode & 0o777 == 0o600
    with SqliteStoreOf(folder) as store:
        assert store.slots(A, 0, T0 * 2) == kept
    assert sorted(path.name for path in folder.iterdir()) == ["lock", NAME]


def test_compacting_leaves_what_it_cannot_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (folder / NAME).read_bytes()
    other = sqlite3.connect(folder / NAME)
    other.execute("BEGIN")
    other.execute("SELECT * FROM agent").fetchall()
    with pytest.raises(StateError, match="open in another program"):
        compact(folder, silent)
    other.close()
    usage = copies.shutil.disk_usage(folder)._replace(free=5)
    monkeypatch.setattr(copies.shutil, "disk_usage", lambda _folder: usage)
    with pytest.raises(StateError, match="no room"):
        compact(folder, silent)
    assert (folder / NAME).read_bytes() == before
    with StateLock(folder):
        pass
