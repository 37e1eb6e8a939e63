"""A folder of runs: ordered, bounded, private, shared by several programs, and with foreign things in it."""

import gzip
import json
import multiprocessing
import os
import stat
from dataclasses import replace

import pytest
from probemesh_controller.history import store as module
from probemesh_controller.history.record import Run, header_of
from probemesh_controller.history.store import History
from probemesh_shared.errors import InvalidRequest, NotFound, StateError
from probemesh_shared.model import TargetResult, Vantage
from probemesh_shared.targets import parse_target
from probemesh_shared.words import Outcome

from tests.cli.fakes import NOW_NS, http_row, https_row, tcp_row

ROWS = (tcp_row(),)


def results(*outcomes, target="db:5432", rows=ROWS):
    vantages = tuple(Vantage(f"a-{i}", "x", outcome, None, rows) for i, outcome in enumerate(outcomes))
    return (TargetResult(parse_target(target), NOW_NS, vantages),)


def run(number, found=None, **more):
    found = results(Outcome.OK) if found is None else found
    asked = Run(f"{number:08x}" * 4, ("probe", "db:5432"), NOW_NS, 0, "demo", "0.1.0", **more)
    return header_of(asked, found), found


@pytest.fixture
def history(tmp_path):
    return History(tmp_path / "history" / "demo")


def save(history, *numbers):
    for number in numbers:
        history.save(*run(number))


def test_it_comes_back_whole(history):
    found = results(Outcome.OK, rows=(tcp_row(), http_row(), https_row(chain=(b"\x30\x03\xff",))))
    header = history.save(*run(7, found))
    assert history.load("@last") == history.load("00000007") == history.load("0") == (header, found)


def test_newest_first_whatever_the_clock_says(history):
    for number, clock in ((3, 9), (1, 5), (2, 7)):
        header, found = run(number)
        history.save(replace(header, saved_ns=clock), found)
    assert [one.id for one in history.listing().runs] == ["00000002", "00000001", "00000003"]
    assert history.ids() == ["00000002", "00000001", "00000003"]
    assert [one.id for one in history.listing(2).runs] == ["00000002", "00000001"]
    assert history.last().id == "00000002"


def test_only_its_owner_reads_it(history):
    old = os.umask(0)
    try:
        save(history, 1)
    finally:
        os.umask(old)
    (file,) = history.folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(history.folder.stat().st_mode) == 0o700


def test_the_oldest_go_first_by_count(tmp_path):
    history = History(tmp_path, most_runs=3)
    save(history, 1, 2, 3, 4, 5)
    assert history.ids() == ["00000005", "00000004", "00000003"]


def test_the_oldest_go_first_by_bytes_and_the_one_just_saved_stays(tmp_path):
    save(History(tmp_path), 1, 2, 3)
    size = next(tmp_path.iterdir()).stat().st_size
    history = History(tmp_path, most_bytes=size * 5 // 2)
    save(history, 4)
    assert history.ids() == ["00000004", "00000003"]
    save(History(tmp_path, most_bytes=1), 5)
    assert history.ids() == ["00000005"]


DAMAGES = {
    "empty": lambda data: b"",
    "cut": lambda data: data[:20],
    "text": lambda data: b"hello\n",
    "no header": lambda data: gzip.compress(b""),
    "no json": lambda data: gzip.compress(b"{\n"),
    "another's": lambda data: gzip.compress(b'{"a": 1}\n'),
    "a list": lambda data: gzip.compress(b"[]\n"),
    "NaN": lambda data: gzip.compress(b'{"id": NaN}\n'),
    "deep": lambda data: gzip.compress(b"[" * 100_000),
    "long number": lambda data: gzip.compress(b'{"id": ' + b"9" * 10_000 + b"}\n"),
    "bomb": lambda data: gzip.compress(b" " * (8 << 20)),
    "later format": lambda data: gzip.compress(
        gzip.decompress(data).replace(b'{"id"', b'{"format": 2, "id"')
    ),
    "other id": lambda data: gzip.compress(gzip.decompress(data).replace(b"00000002", b"99999999", 1)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_passed_over_named_and_never_deleted(tmp_path, damage):
    history = History(tmp_path, most_runs=3)
    save(history, 1, 2)
    (path,) = tmp_path.glob("*-00000002.*")
    data = DAMAGES[damage](path.read_bytes())
    path.write_bytes(data)
    listing = history.listing()
    assert [one.id for one in listing.runs] == ["00000001"]
    assert listing.passed_over == (path.name,)
    assert history.last().id == "00000001"
    with pytest.raises(StateError, match="cannot be read"):
        history.load("00000002")
    save(history, 3, 4, 5, 6, 7)
    assert path.read_bytes() == data
    assert [one.id for one in history.listing().runs] == ["00000007", "00000006", "00000005"]


def test_a_body_that_is_damaged_behind_a_good_header_is_an_error_when_it_is_shown(history):
    save(history, 1)
    (path,) = history.folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-12])
    with pytest.raises(StateError, match="damaged"):
        history.load()
    header = gzip.decompress(whole).splitlines()[0]
    for body in (b"", b"\n{}\n", b"\n" + b"[" * 100_000, b'\n{"target": 1}\n'):
        path.write_bytes(gzip.compress(header + body))
        assert len(history.listing().runs) == 1
        with pytest.raises(StateError, match="damaged"):
            history.load()


def test_foreign_things_beside_it_are_named_and_left_alone(history):
    save(history, 1)
    (history.folder / "notes.txt").write_text("mine")
    (history.folder / "00000009-deadbeef.jsonl.gz").mkdir()
    os.mkfifo(history.folder / "00000008-deadbeef.jsonl.gz")
    listing = history.listing()
    assert [one.id for one in listing.runs] == ["00000001"]
    assert set(listing.passed_over) == {
        "notes.txt",
        "00000009-deadbeef.jsonl.gz",
        "00000008-deadbeef.jsonl.gz",
    }
    save(history, 2)
    assert len(list(history.folder.iterdir())) == 5
    assert history.last().id == "00000002"


def test_what_a_killed_program_left_aside_goes_and_what_is_being_written_stays(history):
    save(history, 1)
    stale, fresh = (history.folder / f".00000002-0000000{i}.99.new" for i in (1, 2))
    for path in (stale, fresh):
        path.write_bytes(b"half")
    os.utime(stale, (1, 1))
    assert history.listing().passed_over == ()
    save(history, 2)
    assert fresh.exists() and not stale.exists()


def test_the_beginning_of_an_id_is_enough_where_it_is_one(history):
    history.save(*run(0xAAAA0001))
    history.save(*run(0xAAAA0002))
    history.save(*run(0xBBBB0001))
    assert history.load("b")[0].id == history.load("BBBB")[0].id == "bbbb0001"
    with pytest.raises(InvalidRequest, match="could be 2 runs"):
        history.load("aaaa")
    for wanted in ("c", "", "aaaa00019", "../x", "@first", "\x1b[2J"):
        with pytest.raises(NotFound) as caught:
            history.load(wanted)
        assert caught.value.hint == "meshctl history lists them"
        assert str(caught.value).isprintable()


def test_of_a_run_that_is_too_large_the_summary_stays(history, monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 3)
    header = history.save(*run(1, results(Outcome.OK, Outcome.REFUSED, rows=(tcp_row(),) * 2)))
    assert not header.whole
    assert history.last() == header and header.failing == {"a-1"}
    with pytest.raises(NotFound, match="only the summary"):
        history.load()


def test_nothing_yet(history):
    assert history.listing() == module.Listing((), ())
    assert history.ids() == []
    with pytest.raises(NotFound, match="no saved run"):
        history.load()


def test_a_place_that_cannot_be_written_or_read_says_why(tmp_path):
    (tmp_path / "file").write_text("")
    history = History(tmp_path / "file" / "demo")
    with pytest.raises(StateError, match="Not a directory"):
        save(history, 1)
    with pytest.raises(StateError, match="Not a directory"):
        history.listing()


def _save_many(folder, first):
    save(History(folder), *range(first, first + 40))


def test_two_at_once_take_nothing_from_each_other(tmp_path):
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=_save_many, args=(tmp_path, first)) for first in (1000, 2000, 3000)]
    for one in others:
        one.start()
    for one in others:
        one.join(60)
        assert one.exitcode == 0
    history = History(tmp_path)
    assert {int(one.id, 16) for one in history.listing().runs} == {
        number for first in (1000, 2000, 3000) for number in range(first, first + 40)
    }
    assert not list(tmp_path.glob(".*"))


def test_the_file_is_json_that_other_programs_can_read(history):
    save(history, 1)
    (path,) = history.folder.iterdir()
    header, result = (json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines())
    assert header["vantages"] == {"a-0": "reached"}
    assert result["target"]["text"] == "db:5432"
