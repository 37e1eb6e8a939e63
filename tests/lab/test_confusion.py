"""What is played how often, what is kept of it, how others' words are read, and what the page makes of it."""

from pathlib import Path
from typing import Any

import pytest

from tests.lab.beside import read_natdiscovery, read_nmap, read_nping
from tests.lab.confusion import MODES, Play, Record, row_of, wanted
from tests.lab.confusion_page import page
from tests.lab.judge import judge
from tests.lab.labs import Case, library
from tests.lab.play import Played
from tests.lab.test_judge import told

LABS = library().labs
BASE = library().topologies["base"]


def played(play: Play, said: dict[str, Any]) -> Played:
    return Played(play.case, judge(play.case, BASE, said), said, 3.0)


def test_families_take_turns_and_masked_is_played_a_quarter_as_often() -> None:
    plays = wanted([LABS["L02"]], 8, 0, MODES)
    two_ended = [play for play in plays if play.mode == "two-ended" and play.case.transport == "tcp"]
    assert [play.case.family for play in two_ended] == ["v4", "v6"] * 4
    assert sum(play.mode == "raw" for play in plays) == 8 * 2
    assert sum(play.mode == "masked" for play in plays) == 2 * 2
    assert all(play.case.bare for play in plays if play.mode == "no-service")
    assert len({play.key for play in plays}) == len(plays)


def test_healthy_labs_are_played_as_often_as_was_asked() -> None:
    plays = wanted([LABS["L01"], LABS["L02"]], 1, 100, ("healthy",))
    assert len(plays) == len({play.key for play in plays}) == 100
    assert {play.case.lab.id for play in plays} == {"L01"}


def test_what_was_played_is_not_played_again_and_a_line_cut_short_is_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    play = Play("two-ended", Case(LABS["L02"], "tcp", "v4"), 0)
    Record(file).add(row_of(play, played(play, told("forward-drop"))))
    with file.open("a") as out:
        out.write('{"key": "two-end')
    assert set(Record(file).rows) == {"two-ended L02-tcp-v4 0"}


def test_the_page_counts_what_was_right_and_shows_what_was_said_instead() -> None:
    case = Case(LABS["L02"], "tcp", "v4")
    plays = [Play("two-ended", case, run) for run in range(4)]
    said = [told("forward-drop")] * 3 + [told("return-drop")]
    text = page([row_of(play, played(play, one)) for play, one in zip(plays, said, strict=True)])
    assert "| `forward-drop` | 4 | 75.00 % | forward-drop 3; return-drop 1 |" in text
    assert "| L02 | R drops what A sends to the port | 7/8 |" in text


def test_a_diagnosis_that_never_came_is_wrong_in_both_directions() -> None:
    case = Case(LABS["L02"], "tcp", "v4")
    good, bad = Play("two-ended", case, 0), Play("two-ended", case, 1)
    rows = [
        row_of(good, played(good, told("forward-drop"))),
        row_of(bad, Played(case, None, None, 0.0, "no JSON")),
    ]
    assert "| 2 | 50.00 % | 50.00 % | 50.00 % |" in page(rows)


NMAP = '<?xml version="1.0"?><nmaprun><ports><port portid="5001"><state {}/></port></ports></nmaprun>'


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        ('state="open" reason="syn-ack"', "reachable"),
        ('state="closed" reason="reset"', "port-closed"),
        ('state="filtered" reason="no-response"', "undetermined"),
        ('state="open|filtered" reason="no-response"', "undetermined"),
        ('state="filtered" reason="admin-prohibited" reason_ip="10.1.0.1"', "forward-reject"),
    ],
)
def test_nmap_is_read_by_state_and_reason(state: str, verdict: str) -> None:
    assert read_nmap(NMAP.format(state))["verdict"] == verdict


def test_nmap_leaves_open_which_way_silence_goes() -> None:
    silent = read_nmap(NMAP.format('state="filtered" reason="no-response"'))
    assert {"forward-drop", "return-drop"} <= set(silent["alternatives"])


SENT = "SENT (0.5s) TCP 10.1.0.2:43040 > 203.0.113.2:5001 S ttl=64 id=60765 iplen=40  seq=1 win=1480 \n"
CAPT = "CAPT (0.6s) TCP 10.1.0.2:43040 > 203.0.113.2:5001 S ttl=62 id=60765 iplen=40  seq=1 win=1480 \n"
RCVD = (
    "RCVD (0.6s) TCP 203.0.113.2:5001 > 10.1.0.2:43040 {} ttl=62 id=0 iplen=44  seq=2 win=64240 <mss 1460>\n"
)
TOLD = "RCVD (0.6s) ICMP [10.1.0.1 > 10.1.0.2 Communication administratively prohibited (type=3/code=13) ]\n"


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (SENT + CAPT + RCVD.format("SA"), "reachable"),
        (SENT + CAPT + RCVD.format("RA"), "port-closed"),
        (SENT + RCVD.format("RA"), "forward-reset"),
        (SENT + TOLD, "forward-reject"),
        (SENT, "forward-drop"),
        (SENT + CAPT, "undetermined"),
        ("Handshake failed.", "undetermined"),
    ],
)
def test_nping_is_read_by_what_the_far_end_captured(said: str, verdict: str) -> None:
    assert read_nping(said, "tcp")["verdict"] == verdict


def test_natdiscovery_is_read_by_its_last_words() -> None:
    said = (
        "...\nNAT with Endpoint Independent Mapping!\n===\nNAT with Address and Port Dependent Filtering!\n"
    )
    found = read_natdiscovery(said)
    assert (found["mapping"], found["filtering"]) == ("endpoint-independent", "address-and-port-dependent")
    assert read_natdiscovery("STUN receive timeout..")["mapping"] is None
