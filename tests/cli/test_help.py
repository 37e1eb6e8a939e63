"""Help opens with examples that work, loads nothing heavy, and the reference is what the code says."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from probemesh_controller import reference, schema
from probemesh_controller.cli import main, names_cache
from probemesh_controller.cli.main import SECTIONS

ROOT = Path(__file__).parents[2]
HEAVY = [
    "grpc",
    "google.protobuf",
    "cryptography",
    "dns",
    "yaml",
    "rich",
    "h11",
    "tenacity",
    "sqlite3",
    "asyncio",
    "ssl",
    "socket",
    "tomllib",
    "jsonschema",
    "probemesh.v1",
    "probemesh_shared.model",
    "probemesh_controller.api",
]
NAMES = [name for section in SECTIONS.values() for name in section]


def loaded_after(*arguments, **environment):
    program = (
        "import os, sys; from probemesh_controller.cli.main import run;"
        "lines = [[name, '--help'] for name in os.environ.get('every', '').split()] or [sys.argv[1:]];"
        "code = max(run(line) for line in lines);"
        "print('\\n'.join(sys.modules), file=sys.stderr); sys.exit(code)"
    )
    path = os.pathsep.join(str(ROOT / name) for name in ("agent", "controller", "shared"))
    command = [sys.executable, "-c", program, *arguments]
    ran = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return ran, set(ran.stderr.splitlines())


def test_no_example_has_an_empty_comment():
    assert not re.findall(r"^ *#\s*$", reference.render(), re.MULTILINE)


def test_help_loads_nothing_heavy(home):
    ran, modules = loaded_after("--help")
    assert ran.returncode == 0
    assert "typer" in modules
    assert not modules & set(HEAVY)
    assert [m for m in modules if m.startswith("probemesh_controller.cli.")] and not any(
        m.startswith("probemesh_controller.cli.") and m.rpartition(".")[2] in NAMES for m in modules
    )


def test_help_of_every_command_loads_neither_grpc_nor_a_parser(home):
    ran, modules = loaded_after(every=" ".join(NAMES))
    assert ran.stdout.count("Usage: ") == len(NAMES)
    assert not modules & {"grpc", "google.protobuf", "cryptography", "dns", "yaml", "rich", "asyncio"}


def test_the_table_says_what_the_modules_hold(meshctl):
    text = meshctl("--help").out
    for section in SECTIONS.values():
        for name, (_, line) in section.items():
            assert re.search(rf"^  {name} +{re.escape(line[:30])}", text, re.M)
    for later in ("incidents", "check "):
        assert not re.search(rf"^  {later}\b", text, re.M)


def examples():
    for name, command, context in reference.commands():
        lines = command.get_help(context).splitlines()
        found = [
            line.strip().split("   ")[0]
            for line in lines
            if line.strip().startswith(("meshctl ", 'eval "$(mesh'))
        ]
        for line in found:
            yield pytest.param(name, line, id=line)


@pytest.mark.parametrize(("name", "line"), list(examples()))
def test_every_example_parses(name, line, home):
    from typer.main import get_command

    line = re.sub(r"^eval \"\$\((.*)\)\"$", r"\1", line)
    words = shlex.split(line.split("|")[0].split(" < ")[0], comments=True)
    assert words[0] == "meshctl"
    command, context, rest = get_command(main.app), None, words[1:]
    while True:
        context = command.make_context(command.name or "meshctl", list(rest), parent=context)
        if not hasattr(command, "list_commands") or not context._protected_args:
            break
        _, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None
    if words[1] == "probe":
        from probemesh_controller.cli.probing import parse_targets

        targets = context.params["target"]
        assert list(targets) == ["@last"] or parse_targets(targets)


@pytest.mark.parametrize(
    "name,command,context", [pytest.param(*one, id=one[0]) for one in reference.commands()]
)
def test_help_opens_with_examples_or_is_a_leaf_of_a_group(name, command, context):
    lines = [line for line in command.get_help(context).splitlines() if line.strip()]
    assert lines[0].startswith("Usage: ")
    leaf_of_small_group = name.startswith(("meshctl context ", "meshctl help "))
    assert any(line.strip() == "Examples:" for line in lines[:5]) or leaf_of_small_group


def test_reference_and_schema_are_fresh(capsys):
    assert reference.main(["--check"]) == 0, "run python -m probemesh_controller.reference"
    assert schema.main(["--check"]) == 0, "run python -m probemesh_controller.schema"


def test_a_stale_reference_is_noticed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reference, "PATH", tmp_path / "cli.md")
    assert reference.main(["--check"]) == 1
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("meshctl pro", "probe"),
        ("meshctl probe --from site=", "site=berlin"),
        ("meshctl probe --from all,ber", "all,berlin-1"),
        ("meshctl agents show to", "tokyo-1"),
    ],
)
def test_completion_knows_names_from_the_cache_without_grpc(home, config_file, line, offered):
    names_cache.store(home / "cache" / "meshctl", "demo", ["berlin-1", "tokyo-1"], ["berlin", "tokyo"])
    words = line.split(" ")
    environment = {
        "_MESHCTL_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "XDG_CACHE_HOME": str(home / "cache"),
    }
    ran, modules = loaded_after(**environment)
    assert offered in ran.stdout.splitlines()
    assert not modules & {"grpc", "cryptography", "asyncio", "rich"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(meshctl, shell):
    ran = meshctl("completion", shell)
    assert ran.code == 0 and "_MESHCTL_COMPLETE" in ran.out


def test_pages(meshctl):
    told = meshctl("help", "exit-codes").out
    assert "130  interrupted" in told
    assert all(f"meshctl {command}:" in told for command in ("diagnose", "trace", "nat"))
    assert meshctl("version").out.startswith("meshctl ")
    assert meshctl("prob").err.splitlines()[1] == "hint: did you mean 'probe'?"
