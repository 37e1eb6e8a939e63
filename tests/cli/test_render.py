"""Alignment, widths and frames."""

from probemesh_controller.render import table, wide
from probemesh_controller.render.live import Frames, frame
from probemesh_controller.render.ports import ports_text
from probemesh_controller.render.text import Cell, clip, columns, ms_text, width_of, wrap
from probemesh_shared.model import DnsDetail, TargetResult, UdpDetail, Vantage
from probemesh_shared.targets import parse_target
from probemesh_shared.words import Kind, Outcome

from tests.cli.fakes import row


def test_wide_characters_take_two_columns_and_marks_none():
    assert width_of("漢字") == 4
    assert width_of("e\u0301") == 1
    assert clip("漢字漢字", 5) == "漢字…"
    lines = columns(["A", "B"], [[Cell("漢字"), Cell("x")], [Cell("abc"), Cell("y")]], 80, False)
    assert [width_of(line.split("x")[0].split("y")[0].split("B")[0]) for line in lines] == [7, 7, 7]


def test_only_the_last_column_is_cut_and_empty_ones_are_left_out():
    rows = [[Cell("name"), Cell(""), Cell("w" * 50)]]
    assert columns(["N", "EMPTY", "WHY"], rows, 30, False)[1] == "name   " + "w" * 22 + "…"


def test_hostile_text_is_escaped_before_it_is_measured():
    assert columns(["A"], [[Cell("\x1b[2J")]], 80, False)[1] == "\\x1b[2J"


def test_durations():
    assert [ms_text(value) for value in (None, 0.012, 9.5, 12.34, 123.4, 1500)] == [
        "", "0.01 ms", "9.50 ms", "12.3 ms", "123 ms", "1.50 s",
    ]  # fmt: skip


def test_words_wrap_behind_their_indent():
    assert wrap("aa bb cc", 6, "  ") == ["  aa", "  bb", "  cc"]
    assert wrap("", 6, "  ") == []


def test_ports_are_merged_and_cut():
    assert ports_text([80, 22, 23, 24]) == "22-24,80"
    assert ports_text(range(1, 40, 2)) == "1,3,5,7,9,11,13,15,… (20 ports)"


def one_row(measured):
    vantage = Vantage("berlin-1", "berlin", measured.outcome, measured.kind, (measured,))
    return [TargetResult(parse_target(measured.target), 0, (vantage,))]


def test_a_name_that_the_host_has_and_the_nameserver_has_not_shows_both():
    detail = DnsDetail("localhost", "A", True, rcode="NXDOMAIN", system_addresses=("127.0.0.1",))
    measured = row(Kind.DNS, Outcome.NAME_FAILS, (None,), target="dns:localhost", port=53, detail=detail)
    for render in (table.render, wide.render):
        shown = render(one_row(measured), 200)
        assert "no such name; the host's own resolver has 127.0.0.1" in shown


def test_a_silent_datagram_is_open_or_filtered():
    measured = row(
        Kind.UDP, Outcome.TIMEOUT, (None,), target="udp://ntp:123", port=123,
        detail=UdpDetail("open|filtered"),
    )  # fmt: skip
    assert "✕ open|filtered" in table.render(one_row(measured), 200)
    assert "✕ timeout, open|filtered" in wide.render(one_row(measured), 200)


def results(count):
    vantages = tuple(Vantage(f"a-{i}", None, Outcome.UNMEASURED) for i in range(count))
    return [TargetResult(parse_target("db:1"), 0, vantages)]


def test_a_frame_is_never_taller_than_the_terminal():
    lines = frame(results(100), "footer", 80, 24)
    assert len(lines) <= 23
    assert "more lines" in lines[-2] and lines[-1] == "footer"
    assert "… waiting" in frame(results(1), "footer", 80, 24)[3]


def test_frames_take_each_others_place_and_are_not_written_twice():
    frames = Frames()
    assert frames.draw(["a", "b"]) == "a\nb\n"
    assert frames.draw(["a", "b"]) == ""
    assert frames.draw(["c"]) == "\x1b[2F\x1b[Jc\n"
    assert frames.clear() == "\x1b[1F\x1b[J"
    assert frames.clear() == ""
