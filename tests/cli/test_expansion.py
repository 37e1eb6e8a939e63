"""What a command comes to, and who is asked before it is begun."""

import io
import sys
from typing import Any

import pytest
from probemesh_controller.cli.expansion import CONFIRM, confirm, expand
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.model import IcmpSpec, LadderSpec, Options, TcpSpec
from probemesh_shared.targets import parse_target

ONCE, THRICE = Options(count=1), Options(count=3)


def of(text: str, vantages: int, spec: Any = TcpSpec(ONCE)) -> Any:  # noqa: B008 (frozen)
    return expand([parse_target(word) for word in text.split()], [spec], vantages)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Somebody who answers."""

    def answers(text: str) -> Terminal:
        screen = Terminal()
        monkeypatch.setattr(sys, "stdin", Terminal(text))
        monkeypatch.setattr(sys, "stderr", screen)
        return screen

    return answers


@pytest.mark.parametrize(
    ("text", "vantages", "spec", "said"),
    [
        (
            "db:1-1000",
            30,
            TcpSpec(ONCE),
            "1 target with 1000 ports from 30 vantage points: about 30000",
        ),
        ("a b", 2, IcmpSpec(THRICE), "2 targets from 2 vantage points: about 12 packets"),
        ("db:5432", 200, LadderSpec(THRICE), "about 600 packets and 1000 connections"),
        ("127.0.0.1:1-65535", 9, TcpSpec(ONCE), "0 targets from 9 vantage points: about nothing"),
    ],
)
def test_what_it_comes_to(text: str, vantages: int, spec: Any, said: str) -> None:
    assert said in of(text, vantages, spec).text()


def test_small_commands_ask_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    confirm(of(f"db:1-{CONFIRM - 1}", 1), yes=False)
    confirm(of("127.0.0.1:1-65535", 500), yes=False)


def test_nobody_to_ask_is_a_refusal_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(InvalidRequest, match="this is large: 1 target with 20000 ports") as refused:
        confirm(of(f"db:1-{CONFIRM}", 1), yes=False)
    assert "--yes" in (refused.value.hint or "")


def test_yes_is_told_and_taken(capsys: pytest.CaptureFixture[str]) -> None:
    confirm(of(f"db:1-{CONFIRM}", 1), yes=True)
    assert "20000 connections" in capsys.readouterr().err


@pytest.mark.parametrize("answer", ["y\n", "YES\n"])
def test_somebody_agrees(terminal: Any, answer: str) -> None:
    screen = terminal(answer)
    confirm(of(f"db:1-{CONFIRM}", 1), yes=False)
    assert "about 20000 connections. Go on? [y/N]" in screen.getvalue()


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "yesterday\n", "y" * 100])
def test_anything_else_is_no(terminal: Any, answer: str) -> None:
    terminal(answer)
    with pytest.raises(InvalidRequest, match="not begun"):
        confirm(of(f"db:1-{CONFIRM}", 1), yes=False)


def test_the_command_refuses_before_the_first_packet(meshctl: Any, mesh: Any, config_file: Any) -> None:
    done = meshctl("probe", "db:1-20000")
    assert done.code == 2
    assert "this is large" in done.err
    assert not mesh.requests
