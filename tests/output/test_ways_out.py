"""Text leaves by few doors, and each makes it safe: lines for people, errors, the log (T15, T18).

Blocks of text leave by ``write``, from renderers that ``test_output_is_data`` feeds with payloads.
"""

import ast
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from probemesh_agent import main as agent_main
from probemesh_controller.cli import flags, main
from probemesh_shared import logs
from probemesh_shared.errors import InvalidRequest

from tests.output.payloads import FORGED, TEXTS, is_clean

ROOT = Path(__file__).parents[2]
TEXT = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
#: Who prints by itself, and what: nothing else does.
DOORS = {
    "controller/probemesh_controller/cli/flags.py": "the doors: note, say, draw",
    "controller/probemesh_controller/cli/output.py": "the door of blocks: write",
    "controller/probemesh_controller/cli/main.py": "errors, escaped; typer's own words about what was typed",
    "controller/probemesh_controller/cli/help.py": "pages of our own",
    "controller/probemesh_controller/cli/completion.py": "typer's script",
    "controller/probemesh_controller/cli/version.py": "the version",
    "controller/probemesh_controller/cli/modules.py": "the user's own file",
    "controller/probemesh_controller/demo/__init__.py": "commands and addresses of our own",
    "controller/probemesh_controller/schema.py": "for developers",
    "controller/probemesh_controller/reference.py": "for developers",
    "shared/probemesh_shared/identity/keygen.py": "a key and its request, into a pipe",
    "agent/probemesh_agent/main.py": "errors, escaped; blocks from renderers",
    "agent/probemesh_agent/arguments.py": "help",
    "agent/probemesh_agent/standalone.py": "blocks from renderers",
}


def printing() -> Iterator[tuple[str, int]]:
    """Files and lines with a ``print`` or a write to a standard stream."""
    for source in ("agent", "controller", "shared/probemesh_shared"):
        for path in sorted((ROOT / source).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and _prints(node.func):
                    yield str(path.relative_to(ROOT)), node.lineno


def _prints(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id == "print"
    if not isinstance(function, ast.Attribute):
        return False
    if function.attr in ("echo", "secho") and ast.unparse(function.value) in ("typer", "click"):
        return True
    return function.attr in ("write", "writelines") and ast.unparse(function.value) in (
        *("sys.stdout", "sys.stderr", "sys.stdout.buffer", "sys.stderr.buffer"),
    )


def test_nobody_prints_but_by_these_doors() -> None:
    found = list(printing())
    assert {path for path, _ in found} == set(DOORS), [one for one in found if one[0] not in DOORS]


@TEXT
def test_lines_for_people(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags.say(text)
    flags.note(text)
    streams = capsys.readouterr()
    for out in (streams.out, streams.err):
        assert is_clean(out)
        assert out.count("\n") == 1


@TEXT
def test_a_line_that_is_drawn_over(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags.draw(text)
    flags.undraw()
    out = capsys.readouterr().err
    assert is_clean(out.replace("\r\x1b[K", ""))
    assert out.count("\x1b") == 2


@TEXT
def test_errors(text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise InvalidRequest(text, text)

    main.report(text, text)
    monkeypatch.setitem(agent_main._COMMANDS, "doctor", refuse)
    assert agent_main.main(["doctor"]) == 2
    err = capsys.readouterr().err
    assert is_clean(err)
    assert err.count("\n") == 4


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield logging.getLogger("probemesh_controller.fleet")
    root.handlers[:], root.level = before[0], before[1]


@TEXT
@pytest.mark.parametrize("as_json", [False, True])
def test_the_log(text: str, as_json: bool, log: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(as_json=as_json)
    logging.getLogger().handlers[0].setStream(sys.stderr)  # type: ignore[attr-defined]
    log.warning("agent %s is gone: %s", text, ValueError(text))
    log.warning(text.replace("%", "%%"))
    try:
        raise ValueError(text)
    except ValueError:
        log.exception("failed")
    err = capsys.readouterr().err
    lines = err.splitlines()
    assert err.isascii() if as_json else all(line.isprintable() for line in lines)
    if as_json:
        values = [json.loads(line) for line in lines]
        assert [value["area"] for value in values] == ["fleet"] * 3
    else:
        begun = [line for line in lines if not line.startswith("  ")]
        assert len(begun) == 3, "a traceback stands further in, so that nothing in it begins a line"
        assert all(" fleet: " in line for line in begun)
    assert not any(line.startswith(FORGED) for line in lines)


def test_controller_and_agent_log_by_the_same_formatter() -> None:
    users = [
        path
        for source in ("agent", "controller", "shared/probemesh_shared")
        for path in (ROOT / source).rglob("*.py")
        if "logs.configure(" in path.read_text() or "basicConfig" in path.read_text()
    ]
    assert sorted(path.name for path in users) == ["service.py", "serving.py"]
