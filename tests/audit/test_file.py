"""The files: whole lines, 0600, bounded, and going on after whatever happens to them."""

import os
import resource
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from probemesh_shared.audit.file import AuditFile, older


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "audit.jsonl"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_lines_follow_each_other_over_restarts(path: Path) -> None:
    for line in (b"one\n", b"two\n"):
        file = AuditFile(path)
        file.append(line)
        file.close()
    assert path.read_bytes() == b"one\ntwo\n"
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"one\n")
    path.chmod(0o644)
    AuditFile(path).append(b"two\n")
    assert mode(path) == 0o600


def test_no_file_becomes_larger_than_it_may_and_the_oldest_go(path: Path) -> None:
    file = AuditFile(path, size=100, files=3)
    lines = [b"%039d\n" % number for number in range(11)]  # two fit
    for line in lines:
        file.append(line)
    assert path.read_bytes() == lines[10]
    assert older(path, 1).read_bytes() == lines[8] + lines[9]
    assert older(path, 2).read_bytes() == lines[6] + lines[7]
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "audit.jsonl",
        "audit.jsonl.1",
        "audit.jsonl.2",
    ]
    assert {mode(each) for each in path.parent.iterdir()} == {0o600}


def test_one_file_alone_begins_anew(path: Path) -> None:
    file = AuditFile(path, size=10, files=1)
    file.append(b"12345678\n")
    file.append(b"abcdefgh\n")
    assert path.read_bytes() == b"abcdefgh\n"
    assert len(list(path.parent.iterdir())) == 1


def test_size_counts_what_was_there_before(path: Path) -> None:
    AuditFile(path, size=100).append(b"x" * 79 + b"\n")
    AuditFile(path, size=100).append(b"y" * 79 + b"\n")
    assert (path.stat().st_size, older(path, 1).stat().st_size) == (80, 80)


def test_a_line_that_a_crash_tore_is_ended_first(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b'one\n{"ev')
    file = AuditFile(path)
    file.append(b"two\n")
    file.append(b"three\n")
    assert path.read_bytes() == b'one\n{"ev\ntwo\nthree\n'


@pytest.fixture
def no_more_than_50_bytes() -> Iterator[None]:
    """Writes beyond that fail with EFBIG, the way a full disk fails: the first ones go through in part."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


def test_a_line_that_a_full_disk_tore_is_ended_first(path: Path, no_more_than_50_bytes: None) -> None:
    file = AuditFile(path)
    file.append(b"x" * 29 + b"\n")
    with pytest.raises(OSError, match="large"):
        file.append(b"y" * 39 + b"\n")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    file.append(b"z\n")
    assert path.read_bytes() == b"x" * 29 + b"\n" + b"y" * 20 + b"\nz\n"


@pytest.mark.parametrize("how", ["moved", "removed", "replaced"])
def test_who_takes_the_file_away_stops_nothing(path: Path, how: str) -> None:
    file = AuditFile(path)
    file.append(b"one\n")
    if how == "moved":
        path.rename(path.with_name("shipped"))
    else:
        path.unlink()
    if how == "replaced":
        path.write_bytes(b"zero\n")
    file.append(b"two\n")
    assert path.read_bytes() == (b"zero\ntwo\n" if how == "replaced" else b"two\n")


def test_neither_a_link_nor_a_pipe_is_followed(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    (tmp_path / "victim").write_bytes(b"precious\n")
    path.symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic"):
        AuditFile(path).append(b"one\n")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="no file"):
        AuditFile(path).append(b"one\n")
    assert (tmp_path / "victim").read_bytes() == b"precious\n"
