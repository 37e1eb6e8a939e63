"""Nothing that came from elsewhere steers a terminal or a spreadsheet."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_shared.escape import csv_text, escape, escape_bytes


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ✓ ü 漢", "plain ✓ ü 漢"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\r\nb\tc\0", "a\\x0d\\x0ab\\x09c\\x00"),
        ("\x7f", "\\x7f"),
        ("\x9b31m\x85", "\\x9b31m\\x85"),
        ("\u202egnp.exe\u2066\u200f", "\\u202egnp.exe\\u2066\\u200f"),
        ("\u2028\u2029\u200b\ufeff\u00ad", "\\u2028\\u2029\\u200b\\ufeff\\xad"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("\u00a0", "\\xa0"),
    ],
)
def test_controls_are_spelled_out(text, shown):
    assert escape(text) == shown


@given(st.text())
def test_no_control_or_format_character_survives(text):
    shown = escape(text)
    assert all(unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for char in shown)
    assert escape(shown) == shown


@given(st.text(), st.integers(1, 30))
def test_a_limit_holds_after_escaping(text, limit):
    assert len(escape(text, limit)) <= limit


def test_what_was_cut_is_marked():
    assert escape("abcdef", 4) == "abc…"
    assert escape("abcd", 4) == "abcd"


@given(st.binary())
def test_bytes_become_one_printable_line(data):
    assert escape_bytes(data).isprintable()


def test_bytes_are_utf8_where_they_are():
    assert escape_bytes("grün".encode() + b"\xff\x1b") == "grün\\xff\\x1b"
    assert escape_bytes(b"x" * 10_000, 10) == "x" * 9 + "…"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"])
def test_no_cell_is_a_formula(text):
    assert csv_text(text)[0] == "'"
    assert csv_text(text).isprintable()


def test_other_cells_stay_as_they_are():
    assert csv_text("berlin-1") == "berlin-1"
