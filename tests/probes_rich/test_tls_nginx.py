"""tls against a real nginx with every kind of chain, side by side with ``openssl s_client``."""

import re
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from probemesh_controller.diagnosis import diagnose
from probemesh_shared.certificates import parse_certificate
from probemesh_shared.jsonout import _measurement
from probemesh_shared.model import AgentInfo, Measurement, TargetResult, TlsDetail, TlsSpec, Vantage
from probemesh_shared.outcomes import exit_code
from probemesh_shared.words import Outcome, Verdict

from tests.probes_rich.rich_bench import QUICK, Bench, at
from tests.servers.tls_pki import Made, make
from tests.servers.tls_servers import tls_nginx, tls_staple

pytestmark = [pytest.mark.tool("nginx"), pytest.mark.tool("openssl")]
NAME = "web.example"


@dataclass(frozen=True)
class World:
    ports: dict[str, int]
    root: Made
    client: Made
    folder: Path

    @property
    def ca_file(self) -> str:
        return str(self.folder / "root.pem")

    def spec(self, **more) -> TlsSpec:
        return replace(TlsSpec(QUICK, server_name=NAME, ca=self.root.pem), **more)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("nginx")
    root = make("Root", authority=True)
    inner = root.issue("Intermediate", authority=True)
    old = root.issue("Old intermediate", authority=True, days=(-90, -3))
    stranger = make("Stranger", authority=True)
    leaf = inner.issue(NAME, NAME, "*.web.example")
    revoked = inner.issue(NAME, NAME)
    own = make(NAME, NAME)
    stale = inner.issue(NAME, NAME, days=(-90, -2))
    of_old, other = old.issue(NAME, NAME), inner.issue("other.example", "other.example")
    (folder / "root.pem").write_bytes(root.pem)

    def served(made: Made, *above: Made, more: str = "") -> str:
        chain, key = made.save(folder, *above)
        return f"ssl_certificate {chain}; ssl_certificate_key {key}; {more}"

    def stapling(made: Made, status: str) -> str:
        file = tls_staple(folder, made, inner, status)
        return served(made, inner, more=f"ssl_stapling on; ssl_stapling_file {file};")

    asking = f"ssl_client_certificate {folder}/root.pem; ssl_verify_client on;"
    servers = {
        "good-h2": served(leaf, inner),
        "missing": served(leaf),
        "order": served(leaf, root, inner),
        "surplus": served(leaf, inner, stranger),
        "expired": served(stale, inner),
        "old-above": served(of_old, old),
        "other-name": served(other, inner),
        "self-signed": served(own),
        "asking": served(leaf, inner, more=asking),
        "only-1.2": served(leaf, inner, more="ssl_protocols TLSv1.2;"),
        "only-1.3": served(leaf, inner, more="ssl_protocols TLSv1.3;"),
        "no-such-name": served(leaf, inner, more="ssl_reject_handshake on;"),
        "staple": stapling(leaf, "V"),
        "staple-revoked": stapling(revoked, "R"),
    }
    with tls_nginx(folder, servers) as ports:
        yield World(ports, root, root.issue("client"), folder)


def detail(row: Measurement) -> TlsDetail:
    assert isinstance(row.detail, TlsDetail), row
    return row.detail


def codes(row: Measurement) -> set[str]:
    """Of the chain as the JSON has it, notes and problems."""
    told = _measurement(row, parse_certificate)["detail"]
    assert told is not None
    return {problem["code"] for problem in told["chain_problems"]}  # type: ignore[typeddict-item]


CHAINS = [
    ("good-h2", None, set()),
    ("missing", 20, {"missing-intermediate"}),
    ("order", None, {"wrong-order", "root-included"}),
    ("surplus", None, {"superfluous"}),
    ("expired", 10, {"expired"}),
    ("old-above", 10, {"expired"}),
    ("other-name", 62, {"name-mismatch"}),
    ("self-signed", 18, {"self-signed"}),
]


@pytest.mark.parametrize(("name", "code", "problems"), CHAINS)
async def test_every_chain_is_judged(
    bench: Bench, world: World, name: str, code: int | None, problems: set[str]
) -> None:
    row = await bench.one(world.spec(), at(world.ports[name]))
    told = detail(row)
    assert row.outcome is Outcome.OK, row.failure
    assert (told.verified, told.verify_code) == (code is None, code)
    assert codes(row) == problems


async def test_the_days_left_are_those_of_the_first_to_expire(bench: Bench, world: World) -> None:
    row = await bench.one(world.spec(), at(world.ports["good-h2"]))
    told = _measurement(row, parse_certificate)["detail"]
    assert told is not None and told["days_left"] == 89  # type: ignore[typeddict-item]
    stale = _measurement(await bench.one(world.spec(), at(world.ports["expired"])), parse_certificate)
    assert stale["detail"] is not None and stale["detail"]["days_left"] < 0  # type: ignore[typeddict-item]


async def test_alpn_is_what_was_offered_and_is_spoken(bench: Bench, world: World) -> None:
    both = detail(await bench.one(world.spec(), at(world.ports["good-h2"])))
    one = detail(await bench.one(world.spec(alpn=("http/1.1",)), at(world.ports["good-h2"])))
    neither = await bench.one(world.spec(alpn=("imap",)), at(world.ports["good-h2"]))
    assert (both.alpn, one.alpn) == ("h2", "http/1.1")
    assert neither.outcome is Outcome.TLS_FAILS and detail(neither).alert == "no_application_protocol"


async def test_a_name_that_is_not_served_is_told_so(bench: Bench, world: World) -> None:
    row = await bench.one(world.spec(), at(world.ports["no-such-name"]))
    assert row.outcome is Outcome.TLS_FAILS and row.failure is not None
    assert detail(row).alert == "unrecognized_name"
    assert row.failure.detail.endswith("(it does not serve the name asked for)")


async def test_versions_are_kept_within_what_was_asked_for(bench: Bench, world: World) -> None:
    old, new = world.ports["only-1.2"], world.ports["only-1.3"]
    assert detail(await bench.one(world.spec(), at(old))).version == "TLSv1.2"
    assert detail(await bench.one(world.spec(), at(new))).version == "TLSv1.3"
    both = await bench.one(world.spec(max_version="TLSv1.2"), at(world.ports["good-h2"]))
    assert (detail(both).version, detail(both).verified) == ("TLSv1.2", True)
    refused = await bench.one(world.spec(max_version="TLSv1.2"), at(new))
    assert refused.outcome is Outcome.TLS_FAILS and detail(refused).alert == "protocol_version"
    refused = await bench.one(world.spec(min_version="TLSv1.3"), at(old))
    assert refused.outcome is Outcome.TLS_FAILS and detail(refused).alert == "protocol_version"


async def test_ciphers_are_those_asked_for(bench: Bench, world: World) -> None:
    chosen = world.spec(ciphers="ECDHE-ECDSA-AES128-GCM-SHA256", max_version="TLSv1.2")
    told = detail(await bench.one(chosen, at(world.ports["good-h2"])))
    assert (told.cipher, told.verified) == ("ECDHE-ECDSA-AES128-GCM-SHA256", True)
    wrong = await bench.one(world.spec(ciphers="NO-SUCH-CIPHER"), at(world.ports["good-h2"]))
    assert wrong.outcome is Outcome.UNSUPPORTED and wrong.failure is not None
    assert "NO-SUCH-CIPHER" in wrong.failure.detail


async def test_a_client_certificate_is_told_of_and_shown(bench: Bench, world: World) -> None:
    for version in ("TLSv1.2", "TLSv1.3"):
        spec = world.spec(min_version=version, max_version=version)
        told = detail(await bench.one(spec, at(world.ports["asking"])))
        assert (told.version, told.client_certificate_requested) == (version, True)
        assert told.client_certificate_authorities == ("CN=Root",)
        spec = replace(spec, client_cert=world.client.pem, client_key=world.client.key_pem)
        row = await bench.one(spec, at(world.ports["asking"]))
        assert row.outcome is Outcome.OK and detail(row).client_certificate_requested is True
        told = detail(await bench.one(world.spec(), at(world.ports["good-h2"])))
        assert told.client_certificate_requested is False


@pytest.mark.parametrize(
    ("name", "status"),
    [("staple", "good"), ("staple-revoked", "revoked"), ("good-h2", "none"), ("only-1.3", None)],
)
async def test_the_staple_is_read_where_it_can_be_seen(
    bench: Bench, world: World, name: str, status: str | None
) -> None:
    row = await bench.one(world.spec(ocsp=True), at(world.ports[name]))
    told = detail(row)
    assert told.ocsp_staple == status, row.log
    if status in ("good", "revoked"):
        assert told.ocsp_this_update_ns is not None and told.ocsp_next_update_ns is not None
        assert told.ocsp_next_update_ns - told.ocsp_this_update_ns == 7 * 86_400_000_000_000
    if status is None:
        assert any("not seen" in line and "protocol_version" in line for line in row.log)
    assert detail(await bench.one(world.spec(), at(world.ports[name]))).ocsp_staple is None


async def test_a_certificate_that_its_own_server_says_is_revoked_is_invalid(
    bench: Bench, world: World
) -> None:
    row = await bench.one(world.spec(ocsp=True), at(world.ports["staple-revoked"]))
    vantage = Vantage("a", None, row.outcome, None, (row,))
    result = TargetResult(at(world.ports["staple-revoked"]), 1, (vantage,))
    ((finding,),) = diagnose([result], [AgentInfo("a")])
    assert finding.verdict is Verdict.CERTIFICATE_INVALID
    assert "is revoked, as the server's own OCSP staple says" in finding.summary
    assert (exit_code([result]), exit_code([result], strict=True)) == (0, 1)


# --- side by side with openssl s_client -------------------------------------------------------------------


def s_client(world: World, name: str, *more: str) -> str:
    command = [
        *("openssl", "s_client", "-connect", f"127.0.0.1:{world.ports[name]}", "-servername", NAME),
        *("-CAfile", world.ca_file, "-no-CApath", "-no-CAstore", "-verify_hostname", NAME),
        *("-showcerts", "-alpn", "h2,http/1.1", *more),
    ]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=20, check=False)
    return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")


def said(text: str, pattern: str) -> str | None:
    found = re.search(pattern, text)
    return found.group(1) if found else None


COMPARED = ("good-h2", "order", "surplus", "expired", "old-above", "other-name", "self-signed", "only-1.2")


@pytest.mark.parametrize("name", [*COMPARED, "only-1.3", "asking"])
async def test_it_says_what_s_client_says(bench: Bench, world: World, name: str) -> None:
    ours = detail(await bench.one(world.spec(), at(world.ports[name])))
    theirs = s_client(world, name)
    assert ours.version == said(theirs, r"New, (\S+), Cipher is")
    assert ours.cipher == said(theirs, r"Cipher is (\S+)")
    assert ours.alpn == said(theirs, r"ALPN protocol: (\S+)")
    assert str(ours.verify_code or 0) == said(theirs, r"Verify return code: (\d+)")
    chain = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", theirs, re.DOTALL)
    assert ours.chain == tuple(ssl.PEM_cert_to_DER_cert(one) for one in chain)
    assert (ours.key_exchange or "").upper() == (said(theirs, r"Server Temp Key: (\w+)") or "").upper()
    requested = "Acceptable client certificate CA names" in theirs
    assert ours.client_certificate_requested is requested


@pytest.mark.parametrize("name", ["staple", "staple-revoked", "good-h2"])
async def test_it_reads_the_staple_as_s_client_does(bench: Bench, world: World, name: str) -> None:
    ours = detail(await bench.one(world.spec(ocsp=True), at(world.ports[name]))).ocsp_staple
    theirs = s_client(world, name, "-status", "-tls1_2")
    assert ours == (said(theirs, r"Cert Status: (\w+)") or "none"), theirs


async def test_a_missing_intermediate_is_among_what_s_client_finds(bench: Bench, world: World) -> None:
    ours = detail(await bench.one(world.spec(), at(world.ports["missing"])))
    assert str(ours.verify_code) in re.findall(r"verify error:num=(\d+)", s_client(world, "missing"))
