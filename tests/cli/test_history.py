"""``meshctl history``: what was measured is kept, shown again as it was, and meant by @last and failed."""

import csv
import gzip
import io
import json
import re
import stat
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from probemesh_controller import config, reference
from probemesh_controller.cli.keeping import SAID, SECRET, _folder_name, without_secrets
from probemesh_controller.render import queries
from probemesh_controller.schema import schema_of
from probemesh_shared.expectations import KEYS
from probemesh_shared.expectations.values import HEADER, JSON, NEEDLE
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.words import Kind, Outcome

from tests.cli.fakes import agent, http_row, https_row, row, tcp_row
from tests.cli.test_help import loaded_after
from tests.cli.test_interrupt import start

FORMATS = ["table", "wide", "json", "jsonl", "csv", "yaml"]
OK, REFUSED = (tcp_row(),), (tcp_row(Outcome.REFUSED),)
DARK = "\x1b]0;owned\x07```\n"


@pytest.fixture
def split(mesh):
    mesh.script = {"berlin-1": OK, "tokyo-1": REFUSED, "self": OK}
    return mesh


def folder_of(home):
    return home / "history" / "demo"


def listed(meshctl, *arguments):
    return json.loads(meshctl("history", *arguments, "-o", "json").out)["runs"]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("strict", [(), ("--strict",)])
def test_show_prints_what_probe_printed(meshctl, config_file, mesh, form, strict):
    ping = row(Kind.ICMP, rtts=(0.05, None, 0.07), target="db", port=None)
    mesh.script = {
        "berlin-1": (ping, tcp_row(), https_row(False, (b"\x30\x03\x02\x01\x05",)), http_row()),
        "tokyo-1": (http_row(500, Outcome.ANSWER_UNEXPECTED),),
        "self": (Outcome.UNMEASURED, "mesh-agent did not start"),
    }
    printed = meshctl("probe", "db:5432", "other:1", *strict, "-o", form).out
    shown = meshctl("history", "show", "-o", form)
    assert (shown.code, shown.out) == (0, printed)
    assert shown.err.startswith("run ") and "meshctl probe db:5432 other:1" in shown.err


def test_where_it_is_and_who_may_read_it(meshctl, config_file, split, home):
    meshctl("probe", "db:5432")
    (file,) = folder_of(home).iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder_of(home).stat().st_mode) == 0o700
    assert not (home / "state").exists()


@pytest.mark.parametrize(
    ("flag", "environment", "folder"),
    [
        (None, {"HOME": "/h"}, "/h/.local/state/meshctl/history"),
        (None, {"HOME": "/h", "XDG_STATE_HOME": "/s"}, "/s/meshctl/history"),
        (None, {"XDG_STATE_HOME": "/s", "MESHCTL_CONFIG": "/d/config.toml"}, "/d/history"),
        ("/f/c.toml", {"XDG_STATE_HOME": "/s", "MESHCTL_CONFIG": "/d/config.toml"}, "/f/history"),
        ("/f/c.toml", {"MESHCTL_HISTORY": "/x"}, "/x"),
        (None, {"HOME": "/h", "MESHCTL_HISTORY": ""}, "/h/.local/state/meshctl/history"),
        (None, {"HOME": "/h", "MESHCTL_HISTORY": "off"}, "None"),
    ],
)
def test_the_folder_by_flag_environment_and_default(flag, environment, folder):
    assert str(config.history_dir(Path(flag) if flag else None, environment)) == folder


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../../x", "/etc", "", "ü\x1b", "x" * 500])
def test_no_name_of_a_context_leads_out_of_the_folder(name):
    folder = _folder_name(name)
    assert "/" not in folder and not folder.startswith(".") and folder.isprintable() and len(folder) <= 160
    assert _folder_name("prod-1") == "prod-1" and _folder_name(None) != _folder_name("no-mesh")


def test_list_newest_first(meshctl, config_file, split):
    meshctl("probe", "db:5432")
    split.script = {}
    meshctl("probe", "web:1", "--from", "all")
    ran = meshctl("history")
    lines = ran.out.splitlines()
    assert lines[0].split() == ["ID", "WHEN", "FROM", "REACHED", "FAILED", "UNMEASURED", "EXIT", "TARGETS"]
    assert lines[1].split()[3:] == ["2", "0", "0", "2", "4", "web:1"]
    assert lines[2].split()[3:] == ["3", "2", "1", "0", "3", "db:5432"]
    assert meshctl("history", "list").out == ran.out
    assert len(listed(meshctl, "--limit", "1")) == 1
    assert [run["targets"] for run in listed(meshctl, "--target", "d*")] == [["db:5432"]]
    assert listed(meshctl, "--target", "d") == []


@pytest.mark.parametrize("form", FORMATS)
def test_list_in_every_format(meshctl, config_file, split, form):
    meshctl("probe", "db:5432", "http://web/?a=1&b", "-c", "1")
    out = meshctl("history", "list", "-o", form).out
    assert "db:5432" in out
    if form == "json":
        value = json.loads(out)
        jsonschema.validate(value, schema_of("history"), jsonschema.Draft202012Validator)
        (run,) = value["runs"]
        assert run["command"] == ["meshctl", "probe", "db:5432", "http://web/?a=1&b", "-c", "1"]
        assert run["context"] == "demo" and run["exit_code"] == 3 and run["vantages"] == 3
    if form == "csv":
        (cells,) = csv.DictReader(io.StringIO(out))
        assert cells["targets"] == "db:5432 http://web/?a=1&b" and cells["exit_code"] == "3"
    if form == "wide":
        assert "meshctl probe db:5432 'http://web/?a=1&b' -c 1" in out


def test_an_empty_history_says_how_it_fills(meshctl, config_file):
    ran = meshctl("history")
    assert (ran.code, ran.out) == (0, "") and "meshctl probe TARGET" in ran.err
    assert listed(meshctl) == []
    shown = meshctl("history", "show")
    assert shown.code == 4 and "no saved run" in shown.err and "hint:" in shown.err


def test_an_unknown_id_is_4_with_a_hint(meshctl, config_file, split):
    meshctl("probe", "db:5432")
    ran = meshctl("history", "show", "zzz")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.splitlines() == ["error: there is no saved run 'zzz'", "hint: meshctl history lists them"]
    (run,) = listed(meshctl)
    assert meshctl("history", "show", run["id"][:3]).code == 0


def test_contexts_have_their_own(meshctl, config_file, split):
    meshctl("probe", "db:5432")
    config.save(
        config.load(config_file).with_context(config.MeshContext("b", "b", config_file.parent), use=False)
    )
    assert meshctl("--context", "b", "history", "show").code == 4
    assert meshctl("--context", "b", "probe", "db:1", "--from", "@last").code == 4
    assert meshctl("context", "rename", "demo", "prod").code == 0
    assert len(listed(meshctl, "--context", "prod")) == 1


def test_off_keeps_nothing(meshctl, config_file, split, home, monkeypatch):
    monkeypatch.setenv("MESHCTL_HISTORY", "off")
    ran = meshctl("probe", "db:5432")
    assert ran.code == 3 and "kept" not in ran.err
    assert not folder_of(home).exists()
    assert meshctl("history").code == 4
    assert "no saved run" in meshctl("probe", "db:1", "--from", "failed").err


def test_where_it_cannot_be_written_the_probe_goes_on_with_one_note(meshctl, config_file, split, home):
    (home / "history").write_text("in the way")
    ran = meshctl("probe", "db:5432", "-o", "json")
    assert ran.code == 3 and json.loads(ran.out)
    assert len([line for line in ran.err.splitlines() if "not kept" in line]) == 1
    assert "Not a directory" in ran.err


def test_a_damaged_file_is_named_and_the_rest_is_there(meshctl, config_file, split, home):
    meshctl("probe", "db:5432")
    meshctl("probe", "web:1")
    newest = max(folder_of(home).iterdir())
    newest.write_bytes(b"\x1f\x8bnonsense")
    (folder_of(home) / "evil\x1b[2J").write_text("")
    ran = meshctl("history", "-o", "json")
    assert [run["targets"] for run in json.loads(ran.out)["runs"]] == [["db:5432"]]
    assert "2 files" in ran.err and newest.name in ran.err and "\x1b" not in ran.err
    assert meshctl("probe", "@last").code == 3
    assert newest.exists()


def test_what_the_mesh_lost_in_the_middle_is_kept_too(meshctl, config_file, mesh):
    mesh.script, mesh.end = {"berlin-1": OK}, (JobStatus.LOST, "gone")
    printed = meshctl("probe", "db:5432", "-o", "json").out
    assert meshctl("history", "show", "-o", "json").out == printed


def test_a_run_that_never_was_is_not_kept(meshctl, config_file, mesh, home):
    assert meshctl("probe", "db:5432", "--from", "nobody-1").code == 4
    assert not folder_of(home).exists()


# --- secrets


def test_no_secret_reaches_the_file_or_the_screen(meshctl, config_file, split, home):
    words = ("--header", "Authorization: Bearer s3cret", "--header=X-Key: s3cret", "-k", "http")
    meshctl("probe", "http://db/", *words)
    (path,) = folder_of(home).iterdir()
    assert b"s3cret" not in gzip.decompress(path.read_bytes())
    shared = meshctl("history", "show", "--share").out
    assert "s3cret" not in shared and "Authorization: …" in shared and "X-Key: …" in shared


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (["probe", "db:1"], ["probe", "db:1"]),
        (["--header", "A: b"], ["--header", "A: …"]),
        (["--header", "nonsense"], ["--header", "…"]),
        (["--header=A:b"], ["--header=A: …"]),
        (["--header", "--header", "x"], ["--header", "…", "x"]),
        (["--header"], ["--header"]),
        (["--data", '{"password": "x"}'], ["--data", "…"]),
        (["--data=a:b", "--data", "@body.json"], ["--data=…", "--data", "@body.json"]),
        (["--send", "AUTH me:pw"], ["--send", "…"]),
        (["--payload=hex:0102", "-c", "1"], ["--payload=…", "-c", "1"]),
        (["--send", "@login"], ["--send", "@login"]),
        (["--expect", "body=s3cret", "--expect=json=a.b=s"], ["--expect", "body=…", "--expect=json=…"]),
        (
            ["--expect", " Header =A: b", "--expect", "status=200"],
            ["--expect", "header=…", "--expect", "status=200"],
        ),
        (["--expect", "AUTH=pw", "--expect", "pong"], ["--expect", "…", "--expect", "…"]),
        (["--expect-body", "@x", "--expect-body=y"], ["--expect-body", "…", "--expect-body=…"]),
        (["--expect-status", "200"], ["--expect-status", "200"]),
        (["http://me:pw@h/"], ["http://…@h/"]),
        (["--proxy=http://me:pw@h:1"], ["--proxy=http://…@h:1"]),
        (["agent:a@b", "dns:x/A@1.1.1.1"], ["agent:a@b", "dns:x/A@1.1.1.1"]),
    ],
)
def test_what_of_a_command_line_is_kept(typed, kept):
    assert list(without_secrets(typed)) == kept


def test_options_that_sound_like_secrets_are_read_from_files_or_not_kept():
    """Whoever adds one sees this fail, and puts it into ``keeping.SECRET`` or reads it from a file."""
    (probe,) = [command for name, command, _ in reference.commands() if name == "meshctl probe"]
    for option in probe.params:
        words = set("-".join(option.opts).lstrip("-").split("-"))
        if words & {
            "header",
            "auth",
            "password",
            "token",
            "secret",
            "bearer",
            "cookie",
            "credentials",
            "user",
        }:
            assert set(option.opts) & set(SECRET) or "FILE" in (option.metavar or ""), option.opts


def test_no_expectation_of_a_text_of_the_answer_is_kept():
    """Whoever adds a key that takes such a text sees this fail, and puts it into ``keeping.SAID``."""
    assert set(KEYS) >= SAID
    assert {key.name for key in KEYS.values() if key.value in (NEEDLE, HEADER, JSON)} == SAID


# --- @last, failed


def test_last_and_failed_are_who_took_part_and_who_failed(meshctl, config_file, split):
    meshctl("probe", "db:5432", "--from", "all")
    assert meshctl("probe", "web:1", "--from", "failed").code == 1
    assert split.requests[-1].agents == ("tokyo-1",)
    meshctl("probe", "web:1", "--from", "@last,berlin-1")
    assert split.requests[-1].agents == ("berlin-1", "tokyo-1")
    meshctl("probe", "web:1", "--from", "@last+site=berlin")
    assert split.requests[-1].agents == ("berlin-1",)
    meshctl("probe", "web:1", "--exclude", "@last")
    assert split.requests[-1].agents == ("self", "tokyo-1")


def test_nothing_failed_is_4_and_says_so(meshctl, config_file, mesh):
    mesh.script = dict.fromkeys(("berlin-1", "tokyo-1"), OK)
    meshctl("probe", "db:5432", "--from", "all")
    ran = meshctl("probe", "db:5432", "--from", "failed")
    assert (ran.code, ran.out) == (4, "") and "nothing failed in the last saved run" in ran.err


def test_the_last_targets_again(meshctl, config_file, split):
    meshctl(
        "probe", "DB:5432", "udp://x:53", "dns:example.org/MX@192.0.2.53", "[::1]:22,80-81", "agent:tokyo-1:1"
    )
    first = split.requests[-1]
    meshctl("probe", "@last", "more:1", "db:5432")
    again = split.requests[-1]
    assert again.targets[:-1] == first.targets and again.targets[-1].text == "more:1"
    meshctl("probe", "@last")
    assert split.requests[-1].targets == again.targets


def test_agents_that_are_gone_are_left_out(meshctl, config_file, split):
    meshctl("probe", "db:5432", "--from", "all")
    split.fleet = [agent("berlin-1", "berlin")]
    meshctl("probe", "db:5432", "--from", "@last")
    assert split.requests[-1].agents == ("berlin-1",)
    meshctl("probe", "db:5432", "--from", "@last")
    split.fleet = [agent("oslo-1", "oslo")]
    ran = meshctl("probe", "db:5432", "--from", "@last")
    assert ran.code == 4 and "nobody who took part in the last saved run" in ran.err


# --- share


def test_share_explains_itself(meshctl, config_file, split):
    ran = meshctl("--color", "probe", "db:5432", "--share", "--timeout", "1")
    text = ran.out
    assert ran.code == 3
    assert "\x1b" not in text and text == re.sub(r"[^\S\n]+$", "", text, flags=re.M)
    assert text.startswith(
        "$ meshctl --color probe db:5432 --share --timeout 1\n2026-11-22 18:22:03 UTC · run "
    )
    for words in (
        "context demo · meshctl 0.1.0",
        "exit code 3: some failed or were not measured",
        "tokyo-1",
        "✕ refused",
        "▲ ",
        "    + ",
        "2 of 3 vantage points reached it, 1 failed",
    ):
        assert words in text
    assert max(map(len, text.splitlines())) <= 120
    assert meshctl("history", "show", "--share").out == text


def test_share_cannot_steer_a_terminal_nor_end_a_fence(meshctl, config_file, mesh):
    dark = replace(tcp_row(Outcome.REFUSED), failure=replace(REFUSED[0].failure, detail=DARK + "\u202e"))
    mesh.script = {"berlin-1": (dark,), "tokyo-1": (Outcome.UNMEASURED, DARK)}
    text = meshctl("probe", "db:5432", "--share", "--header", f"{DARK}: x", "-k", "http").out
    text += meshctl("probe", "db:5432", "--share").out
    assert "```" not in text and "~~~" not in text
    assert all(line.isprintable() for line in text.split("\n"))


URL = "https://web/login?token=s3cret-1&next=/home"


def test_share_hides_queries_wherever_they_are_and_history_keeps_the_target(meshctl, config_file, mesh, home):
    def failing(detail):
        row = http_row(302, Outcome.ANSWER_UNEXPECTED)
        return (replace(row, target=URL, failure=replace(row.failure, detail=detail)),)

    echo = f"it was asked for {URL.partition('?')[2]}"  # too long for a line
    mesh.script = {"berlin-1": failing("to (https://sso/?code=s3cret-2)"), "tokyo-1": failing(echo)}
    text = meshctl("probe", URL, "--kind", "http", "--expect", "body=s3cret-3", "--share").out
    assert "s3cret" not in text and "?next" not in text
    assert "$ meshctl probe 'https://web/login?…' --kind http --expect 'body=…' --share\n" in text
    assert (
        "\nhttps://web/login?…\n" in text and "to (https://sso/?…)" in text and "it was asked for …" in text
    )
    assert meshctl("history", "show", "--share").out == text
    assert URL in meshctl("history", "show").out
    (path,) = folder_of(home).iterdir()
    kept = gzip.decompress(path.read_bytes())
    assert URL.encode() in kept and b"s3cret-3" not in kept
    meshctl("probe", "@last", "--kind", "http")
    assert mesh.requests[-1].targets[0].text == URL


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("to https://h/?a=b&c=d, then", "to https://h/?…, then"),
        ("/p?x", "/p?…"),
        ("'http://h/?a='\"'\"'s'\"'\"''", "'http://h/?…'\"'\"''"),
        ("https://h/?a=cut…", "https://h/?…"),
        ("https://h/?… again", "https://h/?… again"),
        ("is it up? yes (is it?)", "is it up? yes (is it?)"),
        ("two\nhttps://h/?a=b\nlines", "two\nhttps://h/?…\nlines"),
        ("the body says token=abc", "the body says …"),
        ("the body says (token=a…", "the body says (…"),
        ("token=b… stays", "token=b… stays"),
        ("a=1 stays", "a=1 stays"),
    ],
)
def test_queries_are_hidden_in_any_text(text, shown):
    assert queries.hidden(text, ["token=abc", "a=1", ""]) == shown


# --- completion


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("meshctl history show ", "7f3a2c1b"),
        ("meshctl history show 7", "7f3a2c1b"),
        ("meshctl history show @", "@last"),
        ("meshctl probe --from fai", "failed"),
        ("meshctl probe --from all,@", "all,@last"),
        ("meshctl probe @", "@last"),
        ("meshctl probe x --until un", "unreachable"),
    ],
)
def test_completion_knows_runs_by_their_files(home, config_file, line, offered):
    folder_of(home).mkdir(parents=True)
    (folder_of(home) / "00000001-7f3a2c1b.jsonl.gz").write_bytes(b"is not opened")
    environment = {
        "_MESHCTL_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
        "XDG_CACHE_HOME": str(home / "cache"),
    }
    ran, modules = loaded_after(**environment)
    assert offered in ran.stdout.splitlines()
    assert not modules & {"grpc", "cryptography", "asyncio", "rich", "google.protobuf"}


def test_history_loads_neither_grpc_nor_protobuf(meshctl, config_file, split):
    meshctl("probe", "db:5432")
    for arguments in (("history",), ("history", "show"), ("history", "show", "--share")):
        ran, modules = loaded_after(*arguments)
        assert ran.returncode == 0 and "db:5432" in ran.stdout
        assert not modules & {"grpc", "google.protobuf", "asyncio"}


def test_it_is_there_after_the_reader_went_away(config_file, home):
    with start(config_file, "probe", "db:5432", "--from", "berlin-1", "-o", "json") as process:
        process.stdout.close()
        said = process.stderr.read()
    assert "Traceback" not in said
    assert len(list(folder_of(home).iterdir())) == 1
