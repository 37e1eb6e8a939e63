"""The hunt finds faults that were put in, and says so; the rest of what it does is arithmetic."""

from datetime import date
from pathlib import Path

import pytest

from tests.conftest import wanting
from tests.fuzz import ledger, run
from tests.fuzz.hunt import Hunt, hunt, is_available


@pytest.fixture
def atheris() -> None:
    if reason := is_available():
        wanting(reason)


def _planted(name: str, seconds: int) -> Hunt:
    return hunt(name, seconds, module=f"tests.fuzz.planted.{name}")


@pytest.mark.slow
@pytest.mark.usefixtures("atheris")
def test_what_nobody_catches_is_found_with_the_input_that_does_it() -> None:
    done = _planted("raising", 60)
    assert [data[:3] for data in done.found] == [b"bug"]
    assert "what nobody catches" in done.words
    assert "BROKEN" in run.told(done) and repr(done.found[0]) in run.told(done)


@pytest.mark.slow
@pytest.mark.usefixtures("atheris")
def test_a_reader_that_few_bytes_keep_busy_is_found() -> None:
    done = _planted("slow", 60)
    assert len(done.found) == 1 and "TooSlow" in done.words


@pytest.mark.slow
@pytest.mark.usefixtures("atheris")
def test_a_sound_reader_is_left_in_peace_and_what_is_interesting_is_kept_for_the_next(tmp_path: Path) -> None:
    done = hunt("sound", 1, tmp_path / "work", module="tests.fuzz.planted.sound")
    assert done.runs > 0 and not done.found and not done.words
    assert (tmp_path / "work").is_dir() and "BROKEN" not in run.told(done)


@pytest.mark.slow
@pytest.mark.usefixtures("atheris")
def test_a_hunt_that_could_not_be_done_is_no_clean_one() -> None:
    done = _planted("lost", 1)
    assert done.runs == 0 and "only who sends others" in done.words
    assert "BROKEN" in run.told(done)


@pytest.mark.parametrize(
    ("seconds", "within", "targets", "jobs", "each"),
    [
        (10, None, 22, 2, 10),
        (10, 110, 22, 4, 10),
        (10, 110, 22, 2, 8),
        (10, 110, 22, 1, 3),
        (10, 5, 22, 1, 1),
    ],
)
def test_all_together_stay_within_what_was_given(
    seconds: int, within: int | None, targets: int, jobs: int, each: int
) -> None:
    assert run.seconds_each(seconds, within, targets, jobs) == each


def test_the_ledger_adds_up() -> None:
    day, next_day = date(2026, 1, 2), date(2026, 1, 3)
    text = ledger.PATH.read_text("utf-8")
    before = ledger.read(text)
    entries = ledger.added({}, "dns_answer", ledger.Entry(1_500_000, 10, 7, day))
    entries = ledger.added(entries, "dns_answer", ledger.Entry(500_000, 20, 9, next_day))
    entries = ledger.added(entries, "words", ledger.Entry(5, 1, 2, day))
    made = ledger.written(text, entries)
    assert "| dns_answer | 2,000,000 | 30 | 9 | 2026-01-03 |" in made
    assert "| **all** | 2,000,005 | 31 | | |" in made
    assert ledger.read(made) == entries
    assert ledger.written(made, before) == ledger.written(text, before), "the rest of the page stands"


def test_the_ledger_knows_every_target_that_was_hunted_through() -> None:
    from tests.fuzz import registry

    assert set(ledger.read(ledger.PATH.read_text("utf-8"))) <= set(registry.names())
