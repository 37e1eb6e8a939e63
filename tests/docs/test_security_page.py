"""docs/security.md: a row for every threat, and only proofs that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
#: Of the specification; those that nothing is there for yet say why.
THREATS = {f"T{number}" for number in range(1, 27)}
_PROOF = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_ROW = re.compile(r"^\| (T\d+) \|(.*)\|$", re.MULTILINE)

PROOFS = sorted(set(_PROOF.findall(PAGE)))
TOLD, _, AWAITED = PAGE.partition("### Not there yet")
AWAITED, _, _ = AWAITED.partition("\n## ")


@cache
def functions_of(path: str) -> frozenset[str]:
    """Names of the test functions that pytest collects from a file."""
    tree = ast.parse((ROOT / path).read_text())
    found = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in found if node.name.startswith("test_"))


@pytest.mark.parametrize(("path", "name"), PROOFS, ids=lambda part: part)
def test_the_proof_exists(path: str, name: str) -> None:
    assert (ROOT / path).is_file()
    assert name in functions_of(path)


def test_every_threat_has_one_row() -> None:
    rows = [row[0] for row in _ROW.findall(PAGE)]
    assert sorted(rows) == sorted(THREATS)


def test_every_row_has_a_proof_or_a_reason() -> None:
    for threat, cells in _ROW.findall(TOLD):
        assert _PROOF.search(cells), threat
    for threat, cells in _ROW.findall(AWAITED):
        assert not _PROOF.search(cells), f"{threat} has a proof: it belongs above"
        assert all(cell.strip() for cell in cells.split("|")), threat


def test_nothing_looks_like_a_proof_and_is_none() -> None:
    """A typo in a path would be a proof that nobody looks for."""
    named = re.findall(r"tests/[^\s`|]+", PAGE)
    assert len(named) == len(_PROOF.findall(PAGE))


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", PAGE))))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / "docs" / link).is_file()
