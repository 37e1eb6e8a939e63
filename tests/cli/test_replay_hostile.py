"""A saved case that somebody changed is concluded from, or refused in one line; never a fault of ours."""

import copy
import json
import random

import pytest
from probemesh_controller.pair import saved

from tests.cli import pairs

WRONG = (
    *(None, True, 0, -1, 10**30, -(10**30), 1.5, 1e300, 2**63),
    *("", "x", "\x1b[2J", "::ffff:192.0.2.4", "192.0.2.4", "tcp", "reverse"),
    *([], {}, [None], [[]], {"is": "FlowDetail"}),
)


def leaves(value, path=()):
    """The path of everything in it that can be put into another's place."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from leaves(inner, (*path, key))


def changed(case, dice):
    """The same, with one thing gone or another in its place."""
    case = copy.deepcopy(case)
    *way, last = dice.choice(list(leaves(case["case"])))
    holder = case["case"]
    for key in way:
        holder = holder[key]
    if isinstance(holder, dict) and dice.random() < 0.15:
        del holder[last]
    else:
        holder[last] = dice.choice(WRONG)
    return case


@pytest.mark.parametrize("seed", range(12))
def test_whatever_stands_in_it(meshctl, home, tmp_path, seed):
    dice = random.Random(seed)
    whole = json.loads(saved.to_text(pairs.case(), "1"))
    path = tmp_path / "case.json"
    for _ in range(20):
        path.write_text(json.dumps(changed(whole, dice)))
        for how in (("-o", "wide"), ("-o", "json"), ("-o", "csv"), ("--ticket",)):
            ran = meshctl("diagnose", "--replay", str(path), *how)
            assert ran.code in (0, 1, 2, 3, 4) and "fault of its own" not in ran.err, path.read_text()
            if ran.code == 2:
                assert ran.err.startswith(f"error: --replay {path}: ") and ran.err.count("\n") == 1
            assert all(char.isprintable() or char == "\n" for char in ran.out)
