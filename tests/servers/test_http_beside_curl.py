"""http against nginx and tinyproxy, and what ``curl -w`` says of the very same requests."""

import asyncio
import gzip
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from probemesh_agent.net.policy import Policy
from probemesh_shared.expectations import parse_expectations
from probemesh_shared.model import HttpDetail, HttpSpec, Measurement, Options
from probemesh_shared.targets import parse_target
from probemesh_shared.words import FailureKind, Family, Outcome, Stage

from tests.probes_rich.rich_bench import Bench
from tests.servers.http_servers import FILE, Nginx, nginx, tinyproxy

pytestmark = [pytest.mark.tool("nginx"), pytest.mark.tool("curl")]

QUICK = Options(count=1, interval_s=0.0, timeout_s=5.0)
ONE = HttpSpec(QUICK)
FOLLOW = replace(ONE, follow=10)
FOUR = replace(ONE, options=replace(QUICK, family=Family.IPV4))


@pytest.fixture(scope="module")
def server(authority: trustme.CA) -> Iterator[Nginx]:
    with nginx(authority) as made:
        yield made


@pytest.fixture
async def ours(server: Nginx, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """Trusts the server's authority; its owner lets loopback be probed, through redirects too."""
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
    monkeypatch.setenv("SSL_CERT_DIR", str(server.folder / "none"))
    made = Bench(Policy(loopback=True))
    yield made
    made.network.close()


async def asked(bench: Bench, spec: HttpSpec, url: str) -> Measurement:
    return await bench.one(spec, parse_target(url), seconds=10.0)


def detail(row: Measurement) -> HttpDetail:
    assert isinstance(row.detail, HttpDetail)
    return row.detail


async def curl(server: Nginx, url: str, options: Sequence[str] = ()) -> dict[str, object]:
    """What ``-w %{json}`` says, asked for as we ask: no reuse, no encoding, no proxy of the environment."""
    command = ["curl", "-sS", "-o", str(server.folder / "curl.out"), "-w", "%{json}", "--noproxy", "*"]
    command += ["--cacert", str(server.authority), "-H", "Accept-Encoding: identity", "-m", "10"]
    if not any(option.startswith("--http2") for option in options) and "https" not in url:
        command += ["-H", "Connection: close"]
    done = await asyncio.to_thread(
        subprocess.run, [*command, *options, url], capture_output=True, timeout=30, check=False
    )
    return {"exit": done.returncode, **json.loads(done.stdout)}


#: path, port by name, our spec, curl's options
CASES = [
    ("/file", "plain", ONE, ["--http1.1"]),
    ("/file", "secure", ONE, []),
    ("/file", "secure", replace(ONE, http_version="2"), ["--http2"]),
    ("/file", "secure", replace(ONE, http_version="1.1"), ["--http1.1"]),
    ("/file", "old", ONE, []),
    ("/file", "clear2", replace(ONE, http_version="2"), ["--http2-prior-knowledge"]),
    ("/empty", "plain", ONE, []),
    ("/empty", "secure", ONE, []),
    ("/file", "plain", replace(ONE, method="HEAD"), ["-I"]),
    ("/file", "secure", replace(ONE, method="HEAD"), ["-I"]),
    ("/missing", "plain", ONE, []),
    ("/teapot", "secure", ONE, []),
    ("/chunked", "plain", ONE, []),
    ("/zipped", "plain", ONE, []),
    ("/big-headers", "plain", ONE, []),
    ("/big-headers", "secure", ONE, []),
    ("/file", "plain", replace(ONE, headers=(("Range", "bytes=5-99"),)), ["-r", "5-99"]),
    ("/file", "secure", replace(ONE, headers=(("Range", "bytes=-7"),)), ["-r", "-7"]),
    ("/file", "plain", replace(ONE, headers=(("Range", "bytes=99999-"),)), ["-r", "99999-"]),
    ("/echo-length", "plain", replace(ONE, method="POST", body=b"12345"), ["--data-binary", "12345"]),
    ("/echo-length", "secure", replace(ONE, method="PUT", body=b"x" * 999), ["-X", "PUT", "-d", "x" * 999]),
    ("/hop1", "plain", FOLLOW, ["-L"]),
    ("/downgrade", "secure", FOLLOW, ["-L"]),
    ("/hop1", "plain", ONE, []),
]


@pytest.mark.parametrize(("path", "port", "spec", "options"), CASES)
async def test_says_what_curl_says(
    server: Nginx, ours: Bench, path: str, port: str, spec: HttpSpec, options: list[str]
) -> None:
    scheme = "https" if port in ("secure", "old") else "http"
    host = "localhost" if scheme == "https" else "127.0.0.1"
    url = f"{scheme}://{host}:{getattr(server, port)}{path}"
    row = await asked(ours, replace(spec, options=replace(QUICK, family=Family.IPV4)), url)
    theirs = await curl(server, url, ["-4", *options])
    told = detail(row)
    assert theirs["exit"] == 0, theirs
    assert told.status == theirs["http_code"], row.failure
    assert told.version == theirs["http_version"]
    assert told.body_size == theirs["size_download"]
    assert len(told.headers) == theirs["num_headers"]
    assert len(told.redirects) == theirs["num_redirects"]
    assert told.effective_url == theirs["url_effective"]
    assert (row.outcome is Outcome.OK) == (int(str(theirs["http_code"])) < 400)
    assert told.effective_address == theirs["remote_ip"]
    if scheme == "http" and told.version == "1.1" and not told.redirects:
        assert told.head_size == theirs["size_header"]
    if scheme == "https" and told.tls is not None:
        assert told.tls.verified is (theirs["ssl_verify_result"] == 0)
    if told.status in (301, 302) and not spec.follow:
        assert theirs["redirect_url"] and told.location


async def test_times_are_those_of_curl_within_noise(server: Nginx, ours: Bench) -> None:
    """10 kB at 8 kB/s: some of a second is the server's, whoever measures."""
    url = f"http://127.0.0.1:{server.plain}/slow"
    phases, theirs = detail(await asked(ours, ONE, url)).phases, await curl(server, url)
    before = sum(part or 0.0 for part in (phases.dns_ms, phases.connect_ms))
    assert abs(before - float(str(theirs["time_connect"])) * 1e3) < 250
    first = before + (phases.first_byte_ms or 0.0)
    assert abs(first - float(str(theirs["time_starttransfer"])) * 1e3) < 250
    total = float(str(theirs["time_total"])) * 1e3
    assert phases.total_ms is not None and total > 200
    assert total / 2 < phases.total_ms < total * 2
    assert phases.transfer_ms is not None and phases.transfer_ms > 200


async def test_a_chain_takes_what_curl_says_it_takes(server: Nginx, ours: Bench) -> None:
    url = f"http://127.0.0.1:{server.plain}/hop1"
    told, theirs = detail(await asked(ours, FOLLOW, url)), await curl(server, url, ["-L"])
    assert [hop.status for hop in told.redirects] == [301, 302, 308]
    assert told.body == b'{"ready": true, "nodes": [1, 2]}'
    assert abs((told.phases.redirects_ms or 0) - float(str(theirs["time_redirect"])) * 1e3) < 250


async def test_a_loop_that_curl_gives_up_ends_at_once(server: Nginx, ours: Bench) -> None:
    url = f"http://127.0.0.1:{server.plain}/loop"
    row, theirs = await asked(ours, FOLLOW, url), await curl(server, url, ["-L", "--max-redirs", "10"])
    assert theirs["exit"] == 47, "too many redirects"
    assert row.outcome is Outcome.ANSWER_UNEXPECTED and row.failure is not None
    assert row.failure.stage is Stage.REDIRECT and "loop" in row.failure.detail


async def test_conditions_hold_as_for_curl(server: Nginx, ours: Bench) -> None:
    url = f"https://localhost:{server.secure}/file"
    first = detail(await asked(ours, ONE, url))
    etag = next(value for name, value in first.headers if name == "etag")
    changed = next(value for name, value in first.headers if name == "last-modified")
    for header in (("If-None-Match", etag), ("If-Modified-Since", changed)):
        row = await asked(ours, replace(ONE, headers=(header,)), url)
        assert row.outcome is Outcome.OK and (detail(row).status, detail(row).body_size) == (304, 0)
        assert (await curl(server, url, ["-H", f"{header[0]}: {header[1]}"]))["http_code"] == 304
    row = await asked(ours, replace(ONE, headers=(("If-None-Match", '"other"'),)), url)
    assert detail(row).status == 200 and detail(row).body_size == len(FILE)


async def test_a_file_that_is_there_as_gzip_too_comes_as_it_is(server: Nginx, ours: Bench) -> None:
    url = f"http://127.0.0.1:{server.plain}/zipped"
    told = detail(await asked(ours, ONE, url))
    assert told.content_encoding is None and told.body == b"plain as day" * 100 and not told.notes
    row = await asked(ours, replace(ONE, headers=(("Accept-Encoding", "gzip"),)), url)
    told = detail(row)
    assert told.content_encoding == "gzip" and told.body is not None and told.body[:2] == b"\x1f\x8b"
    assert told.body_size == told.content_length and told.body_size < 200 and not told.notes


@pytest.mark.parametrize("port", ["plain", "secure"])
async def test_headers_beyond_sixteen_kibibytes_and_bodies_beyond_one_mebibyte(
    server: Nginx, ours: Bench, port: str
) -> None:
    base = f"{'https' if port == 'secure' else 'http'}://localhost:{getattr(server, port)}"
    row = await asked(ours, FOUR, f"{base}/too-big-headers")
    assert row.failure is not None and row.failure.kind is FailureKind.BAD_ANSWER, row
    assert "16 KiB" in row.failure.detail
    row = (
        await ours.run(replace(ONE, options=replace(QUICK, family=Family.IPV4)), parse_target(f"{base}/huge"))
    )[0]
    told = detail(row)
    assert row.outcome is Outcome.OK, row.failure
    assert (told.body_size, told.content_length, told.body_truncated) == (1 << 20, 3 << 20, True)


async def test_credentials_open_what_is_closed(server: Nginx, ours: Bench) -> None:
    import base64

    url = f"https://localhost:{server.secure}/private"
    spec = FOUR
    assert detail(await asked(ours, spec, url)).status == 401
    token = base64.b64encode(b"ada:s3cret-of-ada").decode()
    spec = replace(spec, secret_headers=(("Authorization", f"Basic {token}"),))
    row = await asked(ours, spec, url)
    assert row.outcome is Outcome.OK and detail(row).body_size == len(FILE)
    assert (await curl(server, url, ["-4", "-u", "ada:s3cret-of-ada"]))["http_code"] == 200
    echoed = await asked(ours, spec, f"https://localhost:{server.secure}/echo-length")
    assert token not in repr(echoed) and b"[redacted]" in (detail(echoed).body or b"")


async def test_json_expected_of_a_real_answer(server: Nginx, ours: Bench) -> None:
    url = f"http://127.0.0.1:{server.plain}/json"
    for text, good in (("json=ready=true", True), ("json=nodes.1=2", True), ("json=nodes.1=3", False)):
        options = replace(QUICK, expect=parse_expectations((text,)))
        row = await asked(ours, replace(ONE, options=options), url)
        assert (row.outcome is Outcome.OK) == good, row.failure


# --- by tinyproxy -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proxy(server: Nginx) -> Iterator[tuple[int, Path]]:
    with tinyproxy(server.secure) as made:
        yield made


@pytest.mark.tool("tinyproxy")
@pytest.mark.parametrize(
    ("path", "port", "version"),
    [("/file", "plain", "1.1"), ("/json", "secure", "2"), ("/hop1", "secure", "2")],
)
async def test_by_tinyproxy_as_by_curl(
    server: Nginx, ours: Bench, proxy: tuple[int, Path], path: str, port: str, version: str
) -> None:
    base = f"{'https' if port == 'secure' else 'http'}://localhost:{getattr(server, port)}"
    spec = replace(FOLLOW if path == "/hop1" else ONE, proxy=f"127.0.0.1:{proxy[0]}")
    row = await asked(ours, spec, base + path)
    command = ["-x", f"http://127.0.0.1:{proxy[0]}", "--noproxy", "", "-L"]
    theirs = await curl(server, base + path, command)
    told = detail(row)
    assert row.outcome is Outcome.OK, row.failure
    assert (told.status, told.body_size) == (theirs["http_code"], theirs["size_download"])
    assert len(told.redirects) == theirs["num_redirects"]
    assert row.address == "127.0.0.1" and told.effective_address is None
    if path != "/hop1":
        assert told.version == version
    assert (told.phases.proxy_ms is not None) == (port == "secure" and path != "/hop1")
    assert "CONNECT localhost" in proxy[1].read_text() or port == "plain"


@pytest.mark.tool("tinyproxy")
async def test_what_tinyproxy_refuses(server: Nginx, ours: Bench, proxy: tuple[int, Path]) -> None:
    by = replace(ONE, proxy=f"127.0.0.1:{proxy[0]}")
    row = await asked(ours, by, f"https://localhost:{server.old}/file")  # no port for tunnels
    assert row.failure is not None and row.failure.stage is Stage.PROXY and "403" in row.failure.detail
    theirs = await curl(
        server,
        f"https://localhost:{server.old}/file",
        ["-x", f"http://127.0.0.1:{proxy[0]}", "--noproxy", ""],
    )
    assert theirs["exit"] == 56 and theirs["http_connect"] == 403
    with tinyproxy(server.secure, "BasicAuth ada pr0xy") as (port, _):
        by = replace(ONE, proxy=f"127.0.0.1:{port}")
        url = f"https://localhost:{server.secure}/json"
        row = await asked(ours, by, url)
        assert row.failure is not None and row.failure.stage is Stage.PROXY, row
        assert "407" in row.failure.detail or "401" in row.failure.detail
        let_in = replace(by, secret_headers=(("Proxy-Authorization", "Basic YWRhOnByMHh5"),))
        row = await asked(ours, let_in, url)
        assert row.outcome is Outcome.OK, row.failure
    row = await asked(ours, replace(ONE, proxy=f"127.0.0.1:{proxy[0]}"), "http://no-such.invalid/")
    assert row.outcome is Outcome.ANSWER_UNEXPECTED and detail(row).status in (500, 502, 503, 504)


def test_from_the_command_line_to_the_history(server: Nginx, tmp_path: Path) -> None:
    secret = tmp_path / "credentials"
    secret.write_text("ada:s3cret-of-ada\n")
    secret.chmod(0o600)
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": f"{tmp_path}/c", "XDG_STATE_HOME": f"{tmp_path}/s"}
    meshctl = Path(sys.executable).parent / "meshctl"
    url = f"http://127.0.0.1:{server.plain}/hop1"
    command = [meshctl, "probe", url, "--follow", "--auth-basic", secret, "--expect", "json=ready=true"]
    command += ["--header", "Cookie: s3cret-of-ada", "-c", "1", "-o", "json"]
    env = {**os.environ, **home}
    done = subprocess.run(command, capture_output=True, timeout=60, check=False, env=env)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["vantages"][0]["measurements"]
    told = row["detail"]
    assert (told["status"], told["version"], len(told["redirects"])) == (200, "1.1", 3)
    assert told["effective_url"].endswith("/json") and told["phases"]["redirects_ms"] > 0
    assert "credentials were sent in the clear" in told["notes"]
    assert b"credentials go to " in done.stderr
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and path != secret]
    assert kept, "the history has the run"
    for text in (done.stdout, done.stderr, *map(unpacked, kept)):
        assert b"s3cret" not in text and b"YWRhOn" not in text


def unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
