"""Every command line in README and guides names commands and options that exist."""

import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
GROUPS = {"agents", "token", "operator", "controller", "context", "policy", "history", "matrix"}
_LINE = re.compile(r"(?:^|[|`=] ?)(?:[A-Z_]+=\S+ )?((?:meshctl|mesh-agent) [^`|\n]*)", re.MULTILINE)


def command_lines() -> list[str]:
    found = {
        match.split(" #")[0].split("  ")[0].strip()
        for page in PAGES
        for line in page.read_text().splitlines()
        if line.startswith("    ") or "`" in line
        for match in _LINE.findall(line.strip().removeprefix("$ "))
    }
    return sorted(line for line in found if "…" not in line.split()[1])


@cache
def help_of(path: tuple[str, ...]) -> str:
    done = subprocess.run(
        [str(BIN / path[0]), *path[1:], "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_are_lines_to_check() -> None:
    assert len(command_lines()) > 30


@pytest.mark.parametrize("line", command_lines())
def test_exists(line: str) -> None:
    words = shlex.split(line.replace("'.", "."), comments=True, posix=False)
    depth = 3 if len(words) > 2 and words[1] in GROUPS else 2
    options = [word for word in words[depth:] if re.fullmatch(r"--?[a-z][a-z-]*", word)]
    text = help_of(tuple(words[:depth]))
    assert all(option in text for option in options), line
