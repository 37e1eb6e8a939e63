"""The program: what it says, how it exits, and the pipe that a laptop measures through."""

import asyncio
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from agent_tests_mesh import Mesh, job
from probemesh_agent import doctor
from probemesh_agent.main import main
from probemesh_agent.net.policy import Limits
from probemesh_shared.convert import Unpacker, pack_job, unpack_agent_frame
from probemesh_shared.model import IcmpSpec, LadderSpec, Options
from probemesh_shared.session.frames import Frame, JobEnd, JobStatus, ResultBatch
from probemesh_shared.words import Outcome

DOCTOR_SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "doctor.schema.json"
PROGRAM = (sys.executable, "-m", "probemesh_agent")


def run(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, **environ}
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, env=env, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "a command is missing"),
        (["frobnicate"], 2, "invalid choice"),
        (["probe"], 2, "no target"),
        (["probe", ""], 2, "empty"),
        (["probe", "host:0"], 2, "there is no port 0"),
        (["probe", "host:70000"], 2, "there is no port 70000"),
        (["probe", "agent:x"], 2, "meshctl probe"),
        (["probe", "h:1", "--count", "0"], 2, "--count"),
        (["probe", "[::1]:80", "-4"], 2, "is an IPv6 address, and -4 was given"),
        (["probe", "127.0.0.1:80", "-6"], 2, "leave out -6"),
        (["probe", "h:1", "--kind", "smoke"], 2, "invalid choice"),
        (["probe", "h:1", "--expect", "stats=200"], 2, "did you mean 'status'?"),
        (["probe", "h:1", "--kind", "tcp", "--expect", "status=200"], 2, "--kind http"),
        (["probe", "h:1", "--policy", "/nonexistent"], 4, "/nonexistent"),
        (["join", "h", "--token-file", "/nonexistent"], 2, "/nonexistent"),
        (["run", "--state", "/nonexistent"], 4, "has not joined"),
        (["policy", "check", "127.0.0.1", "--policy", "/nonexistent"], 4, "/nonexistent"),
    ],
)
def test_wrong_use_is_one_clear_line(
    arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        got = main(arguments)
    except SystemExit as exit_:
        got = int(str(exit_.code))
    streams = capsys.readouterr()
    assert (got, streams.out) == (code, "")
    assert says in streams.err
    assert "Traceback" not in streams.err
    assert len(streams.err.splitlines()) <= 2


@pytest.mark.parametrize("command", [[], ["join"], ["run"], ["probe"], ["doctor"], ["policy", "check"]])
def test_help_opens_with_examples(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([*command, "--help"])
    assert exit_.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "examples:"
    assert lines[0] not in lines[1:]


def test_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mesh-agent {importlib.metadata.version('probemesh')}\n"


def test_policy_check_names_the_rule(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["policy", "check", "169.254.169.254"]) == 1
    assert "denied" in capsys.readouterr().out
    policy = tmp_path / "policy.toml"
    policy.write_text("[allow]\nloopback = true\n")
    assert main(["policy", "check", "127.0.0.1:80", "--policy", str(policy)]) == 0
    assert "allowed" in capsys.readouterr().out


def test_policy_check_takes_several_targets(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[allow]\nloopback = true\n")
    targets = ["127.0.0.1:80", "169.254.169.254"]
    assert main(["policy", "check", *targets, "--policy", str(policy)]) == 3
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["allowed", "127.0.0.1"], ["denied", "169.254.169.254"]]
    assert last == f"limits   {Limits().in_words()}"
    assert main(["policy", "check", "127.0.0.1", "127.0.0.2", "--policy", str(policy)]) == 0
    assert main(["policy", "check", "169.254.169.254", "169.254.169.254:80"]) == 1


def test_policy_check_explains_each_rung(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(
        '[allow]\nloopback = true\nports = [80, "8000-8100"]\nkinds = ["tcp"]\n'
        '[deny]\nports = [8050]\nnames = ["*.example"]\n'
    )

    def checked(*arguments: str) -> tuple[int, list[list[str]]]:
        code = main(["policy", "check", *arguments, "--policy", str(policy)])
        lines = [one for one in capsys.readouterr().out.splitlines() if not one.startswith("limits")]
        return code, [[*line.split(":")[0].split()] for line in lines]

    assert checked("127.0.0.1:80", "--kind", "tcp") == (
        0,
        [
            ["allowed", "kind", "tcp", "allow"],
            ["allowed", "port", "80", "allow"],
            ["allowed", "127.0.0.1", "loopback"],
        ],
    )
    assert checked("127.0.0.1:80", "--kind", "http")[1][0] == ["denied", "kind", "http", "not-allowed"]
    code, lines = checked("tcp://127.0.0.1:8040-8060")
    assert code == 0 and [line[2] for line in lines if line[1] == "port"] == [
        "8040-8049",
        "8050",
        "8051-8060",
    ]
    assert checked("127.0.0.1:8050")[0] == 1
    code, lines = checked("tcp://x.example:80")
    assert code == 1 and ["denied", "name", "x.example", "deny"] in lines
    assert not any("address" in line or "nothing" in line for line in lines), "it is not looked up"


def test_policy_check_and_doctor_say_how_much_may_be_sent(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(
        "[allow]\nloopback = true\n[limits]\npackets_per_s = 50\ntarget_connections_per_s = 3\n"
        "[limits.icmp]\npackets_per_s = 5\n[limits.http]\nconcurrent = 2\n"
    )

    def told(*arguments: str) -> list[str]:
        assert main(["policy", "check", "127.0.0.1", *arguments, "--policy", str(policy)]) == 0
        return [one for one in capsys.readouterr().out.splitlines() if one.startswith("limits")]

    rates = "50 packets/s, 4096 at once, 1000 packets/s to one address, 3 connections/s to one address"
    of_kinds = ["limits   kind http  at most 2 at once", "limits   kind icmp  at most 5 packets/s"]
    assert told() == [f"limits   at most {rates}", *of_kinds]
    assert told("--kind", "icmp") == [f"limits   at most {rates}", of_kinds[1]]
    assert told("--kind", "tcp") == [f"limits   at most {rates}"]
    check = doctor.policy_file(policy)
    assert check.level is doctor.Level.OK and check.text == (
        f"policy {policy}: at most {rates}; http: at most 2 at once; icmp: at most 5 packets/s"
    )
    assert doctor.policy_file(None).text.startswith("the policy as shipped: at most 100000 packets/s")
    policy.write_text("[limits]\npacket_per_s = 5\n")
    check = doctor.policy_file(policy)
    assert check.level is doctor.Level.FAIL and "packet_per_s" in check.text


def test_a_kind_that_the_owner_denies_is_not_probed_by_hand_either(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[deny]\nkinds = ["tcp"]\n')
    arguments = ["probe", "127.0.0.1:1", "--kind", "tcp", "--policy", str(policy), "-o", "json"]
    assert main(arguments) == 4
    (row,) = json.loads(capsys.readouterr().out)["vantages"][0]["measurements"]
    assert row["outcome"] == "denied" and "the kind tcp" in row["failure"]["detail"]


def test_policy_check_reads_every_target_before_it_judges_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "check", "127.0.0.1", "host:0"]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--count", ["0", "1001", "-3"]),
        ("--interval", ["0", "61", "nan", "-1"]),
        ("--timeout", ["0", "0.04", "61", "inf"]),
        ("--deadline", ["0", "3601", "nan"]),
        ("--size", ["-1", "65508"]),
        ("--dscp", ["-1", "64"]),
        ("--ttl", ["0", "256"]),
    ],
)
def test_an_option_out_of_its_range_is_wrong_use(
    option: str, values: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for value in values:
        assert main(["probe", "h:1", f"{option}={value}"]) == 2
        streams = capsys.readouterr()
        assert f"{option} {float(value):g} is out of range" in streams.err
        assert len(streams.err.splitlines()) == 2


def test_probe_as_json_and_its_exit_codes(quiet_server: int) -> None:
    up = run("probe", f"127.0.0.1:{quiet_server}", "--count", "1", "-o", "json")
    found = json.loads(up.stdout)
    assert (up.returncode, found["vantages"][0]["outcome"], found["summary"]["reached"]) == (0, "ok", 1)
    down = run("probe", "127.0.0.1:1", "--count", "1", "-o", "jsonl")
    assert (down.returncode, json.loads(down.stdout)["vantages"][0]["failed_at"]) == (1, "tcp")
    both = run("probe", "127.0.0.1:1", f"127.0.0.1:{quiet_server}", "--count", "1", "-o", "json")
    assert (both.returncode, len(json.loads(both.stdout))) == (3, 2)
    denied = run("probe", "169.254.169.254:80", "--count", "1")
    assert denied.returncode == 4
    assert "denied" in denied.stdout
    closed = ("probe", "127.0.0.1:1", "--count", "1", "--kind", "tcp", "--kind", "icmp")
    assert run(*closed, "--expect", "state=closed").returncode == 0
    assert run(*closed, "--expect", "state=open").returncode == 1


def test_doctor_tells_a_host_that_has_not_joined(tmp_path: Path) -> None:
    told = run("doctor", "--state", str(tmp_path), "-o", "json", https_proxy="http://127.0.0.1:1")
    assert told.returncode == 1
    report = json.loads(told.stdout)
    jsonschema.validate(report, json.loads(DOCTOR_SCHEMA.read_text()), jsonschema.Draft202012Validator)
    found = {check["name"]: check["status"] for check in report["checks"]}
    assert (found["certificate"], found["proxy"]) == ("failed", "warning")
    assert all(check["fix"] for check in report["checks"] if check["status"] == "failed")
    assert not any(check["fix"] for check in report["checks"] if check["status"] == "ok")


def test_doctor_tells_a_controller_that_is_away(tmp_path: Path) -> None:
    state = Mesh(tmp_path).agent_state("a", "127.0.0.1:1")
    told = run("doctor", "--state", str(state))
    assert told.returncode == 1
    assert "valid for" in told.stdout
    assert "connection refused" in told.stdout


@pytest.fixture
def quiet_server(tmp_path: Path) -> "object":
    import socket
    import threading

    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                held.append(listener.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=accept)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for connection in held:
        connection.close()


# --- the pipe --------------------------------------------------------------------------------------------


async def pipe() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *PROGRAM, "probe", "--frames", stdin=-1, stdout=-1, stderr=asyncio.subprocess.PIPE
    )


def frames_of(data: bytes) -> list[Frame]:
    unpacker = Unpacker()
    frames = [unpack_agent_frame(body) for body in unpacker.feed(data)]
    unpacker.close()
    return frames


async def test_frames_mode_runs_one_job(quiet_port: int) -> None:
    process = await pipe()
    assert process.stdin is not None
    assert process.stdout is not None
    spec = LadderSpec(Options(count=1, timeout_s=1.0))
    process.stdin.write(pack_job(job("j", f"localhost:{quiet_port}", spec=spec)))
    async with asyncio.timeout(20):
        frames = frames_of(await process.stdout.read())
        assert await process.wait() == 0
    rows = [row for frame in frames if isinstance(frame, ResultBatch) for row in frame.measurements]
    assert {row.outcome for row in rows if row.address == "127.0.0.1"} == {Outcome.OK}
    last = frames[-1]
    assert isinstance(last, JobEnd)
    assert last.status is JobStatus.DONE
    assert [frame.seq for frame in frames if isinstance(frame, ResultBatch | JobEnd)] == list(
        range(len(frames))
    )


async def test_frames_mode_stops_when_its_reader_goes() -> None:
    process = await pipe()
    assert process.stdin is not None
    assert process.stdout is not None
    long = IcmpSpec(Options(count=600, interval_s=1.0))
    process.stdin.write(pack_job(job("j", "127.0.0.1", spec=long, budget_ms=600_000)))
    await process.stdin.drain()
    process.stdin.close()
    async with asyncio.timeout(10):
        frames = frames_of(await process.stdout.read())
        assert await process.wait() == 0
    last = frames[-1]
    assert isinstance(last, JobEnd)
    assert last.status is JobStatus.CANCELLED


@pytest.mark.parametrize("sent", [b"", b"\x00\x00\x00\x02\xff\xff", b"\xff\xff\xff\xff", b"\x00\x00"])
async def test_frames_mode_refuses_what_is_no_job(sent: bytes) -> None:
    process = await pipe()
    async with asyncio.timeout(20):
        out, err = await process.communicate(sent)
    assert (process.returncode, out) == (2, b"")
    assert b"Traceback" not in err
