"""http: whom it trusts and as whom it goes, against nginx; a redirect takes no certificate along."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

import pytest
from probemesh_agent.net.policy import Policy
from probemesh_shared.model import HttpDetail, HttpSpec, Measurement
from probemesh_shared.words import FailureKind, Outcome, Stage

from tests.ports import free_port
from tests.probes_rich.rich_bench import QUICK, Bench, at, serving, silent
from tests.servers.tls_pki import make
from tests.servers.tls_servers import tls_nginx, tls_openssl, tls_options

pytestmark = [pytest.mark.tool("nginx"), pytest.mark.tool("openssl")]
ROOT = make("Root", authority=True)
LEAF = ROOT.issue("web.example", "web.example", "127.0.0.1")
CLIENT = ROOT.issue("client")
SPEC = HttpSpec(QUICK, server_name="web.example", ca=ROOT.pem)
KNOWN = replace(SPEC, client_cert=CLIENT.pem, client_key=CLIENT.key_pem)


@dataclass(frozen=True)
class Servers:
    demanding: int
    leading: int


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "root.pem").write_bytes(ROOT.pem)
    chain, key = LEAF.save(folder)
    asking = f"ssl_certificate {chain}; ssl_certificate_key {key}; ssl_client_certificate {folder}/root.pem;"
    telling = "add_header X-Verified $ssl_client_verify always;"
    other = free_port()
    blocks = {
        "demanding": f"{asking} ssl_verify_client on; {telling}",
        "leading": f"{asking} ssl_verify_client on; return 302 https://127.0.0.1:{other}/;",
        "other": f"{asking} ssl_verify_client optional; listen 127.0.0.1:{other} ssl; {telling}",
    }
    with tls_nginx(folder, blocks) as ports:
        yield Servers(ports["demanding"], ports["leading"])


@pytest.fixture
async def open_bench() -> AsyncIterator[Bench]:
    """By its owner's policy loopback may be probed, through redirects too."""
    made = Bench(Policy(loopback=True))
    yield made
    made.network.close()


def detail(row: Measurement) -> HttpDetail:
    assert isinstance(row.detail, HttpDetail), row.failure
    return row.detail


def verified(row: Measurement) -> str | None:
    return {name.lower(): value for name, value in detail(row).headers}.get("x-verified")


async def test_a_client_certificate_lets_it_in(bench: Bench, servers: Servers) -> None:
    good = await bench.one(KNOWN, at(servers.demanding, secure=True))
    none = await bench.one(SPEC, at(servers.demanding, secure=True))
    assert (good.outcome, verified(good)) == (Outcome.OK, "SUCCESS")
    assert (none.outcome, detail(none).status) == (Outcome.ANSWER_UNEXPECTED, 400)
    for row in (good, none):
        tls = detail(row).tls
        assert tls is not None and tls.verified is True and tls.client_certificate_requested is True


async def test_another_origin_is_not_shown_it(open_bench: Bench, servers: Servers) -> None:
    row = await open_bench.one(replace(KNOWN, follow=3), at(servers.leading, secure=True))
    assert row.outcome is Outcome.OK, row.failure
    assert verified(row) == "NONE" and len(detail(row).redirects) == 1
    tls = detail(row).tls
    assert tls is not None and tls.verified is True, "--ca holds there too"
    assert any("credentials were left out" in note for note in detail(row).notes)


async def test_a_server_that_turns_us_away_after_the_handshake(bench: Bench, tmp_path) -> None:
    (tmp_path / "root.crt").write_bytes(ROOT.pem)
    demand = ("-Verify", "1", "-verify_return_error", "-CAfile", str(tmp_path / "root.crt"), "-tls1_3")
    with tls_openssl(tmp_path, *tls_options(LEAF, tmp_path), *demand) as port:
        row = await bench.one(SPEC, at(port, secure=True))
    assert row.outcome is Outcome.TLS_FAILS and row.failure is not None
    assert (row.failure.stage, row.failure.kind) == (Stage.TLS, FailureKind.TLS_ALERT)
    assert "certificate_required (it wants a client certificate)" in row.failure.detail


async def test_without_the_authority_it_does_not_verify(bench: Bench, servers: Servers) -> None:
    spec = replace(KNOWN, ca=make("Other", authority=True).pem)
    row = await bench.one(spec, at(servers.demanding, secure=True))
    tls = detail(row).tls
    assert row.outcome is Outcome.OK and tls is not None and tls.verified is False


@pytest.mark.parametrize(
    "spec", [replace(SPEC, ca=b"junk"), replace(KNOWN, client_key=LEAF.key_pem)], ids=["ca", "key"]
)
async def test_what_openssl_does_not_take_is_unsupported(bench: Bench, spec: HttpSpec) -> None:
    async with serving(silent) as port:
        row = await bench.one(spec, at(port, secure=True))
    assert row.outcome is Outcome.UNSUPPORTED and row.samples == ()


def test_no_representation_shows_the_key() -> None:
    assert CLIENT.key_pem.splitlines()[1].decode() not in repr(KNOWN)
