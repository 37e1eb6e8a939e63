"""On which line everything of a TOML text stands."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_controller.meshes.lines import Lines

TEXT = '''# a comment with [brackets] and "quotes
title = "one # no comment"

[groups]
berlin = "site=berlin"
'quoted key' = 1
"esc\\"aped" = 2

[[mesh]]
name = 'a'
pairs = [   # comment ]
  ["a", "b"],

  ["c", "d"], ["e",
   "f"],
]
[mesh.more]
x = 1
[[mesh]]
name = """
long ] text [
"""
after = { in = 1, list = [1,
 2], deep = { er = true } }
a.b.c = 3
end = \'\'\'it''s''\'\'\'
last = 2026-12-01T22:00:00Z
'''


def test_a_table_that_only_others_name_stands_where_the_first_of_them_does() -> None:
    lines = Lines("a = 1\n\n[meshes.core]\nx = 1\n[meshes.more]\n[[list.of]]\n[[list.of]]\n")
    assert [lines.of(path) for path in (("meshes",), ("meshes", "more"), ("list",), ("list", "of", 1))] == [
        3,
        5,
        6,
        7,
    ]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("groups",), 4),
        (("groups", "berlin"), 5),
        (("groups", "quoted key"), 6),
        (("groups", 'esc"aped'), 7),
        (("mesh",), 9),
        (("mesh", 0), 9),
        (("mesh", 0, "name"), 10),
        (("mesh", 0, "pairs"), 11),
        (("mesh", 0, "pairs", 0), 12),
        (("mesh", 0, "pairs", 1), 14),
        (("mesh", 0, "pairs", 2), 14),
        (("mesh", 0, "pairs", 2, 1), 15),
        (("mesh", 0, "more"), 17),
        (("mesh", 0, "more", "x"), 18),
        (("mesh", 1), 19),
        (("mesh", 1, "name"), 20),
        (("mesh", 1, "after"), 23),
        (("mesh", 1, "after", "list", 1), 24),
        (("mesh", 1, "after", "deep", "er"), 24),
        (("mesh", 1, "a", "b", "c"), 25),
        (("mesh", 1, "end"), 26),
        (("mesh", 1, "last"), 27),
        (("mesh", 1, "unknown", "below"), 19),
        (("nowhere",), None),
    ],
    ids=str,
)
def test_knows_the_line(path, line):
    tomllib.loads(TEXT)
    assert Lines(TEXT).of(path) == line


_SCALARS = st.one_of(
    st.integers(-9, 9).map(str),
    st.booleans().map(lambda value: str(value).lower()),
    st.text("ab]#[,= {}", max_size=6).map(lambda text: f"'{text}'"),
    st.text('ab"\\#]', max_size=4).map(lambda t: '"' + t.replace("\\", "\\\\").replace('"', '\\"') + '"'),
    st.text("ab\n]#", max_size=5).map(lambda text: f'"""{text}"""'),
)


@given(
    st.lists(st.lists(_SCALARS, max_size=4), min_size=1, max_size=6),
    st.sampled_from([",", ",\n", " , # c\n"]),
)
def test_every_item_of_a_list_stands_where_it_begins(rows, comma):
    text, begins = "", {}
    for number, row in enumerate(rows):
        text += f"[[t]]\nk{number} = ["
        for place, item in enumerate(row):
            begins["t", number, f"k{number}", place] = text.count("\n") + 1
            text += item + comma
        text += "]\n"
    assert [len(one[f"k{n}"]) for n, one in enumerate(tomllib.loads(text)["t"])] == list(map(len, rows))
    lines = Lines(text)
    assert {path: lines.of(path) for path in begins} == begins


@given(st.text("[]{}\"'=.,#\n abc1", max_size=60))
def test_whatever_tomllib_accepts_is_scanned_to_its_end(text):
    try:
        keys = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = Lines(text)
    assert all(lines.of((key,)) is not None for key in keys)
