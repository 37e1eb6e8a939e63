"""Ports, states and reasons beside nmap, and ready-made datagrams to the servers of Debian, in namespaces."""

import contextlib
import json
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from probemesh_controller.pair.hellos import hello
from probemesh_shared.model import (
    Measurement,
    Options,
    PortRange,
    Spec,
    Target,
    TcpDetail,
    TcpSpec,
    UdpDetail,
    UdpSpec,
)
from probemesh_shared.words import Kind, Outcome, UdpRequest

from tests.lab.netlab import Host, NetLab
from tests.servers.running import program

pytestmark = [
    pytest.mark.netns,
    *(pytest.mark.tool(name) for name in ("nmap", "ntpd", "turnserver", "snmpd", "sshd", "named")),
]
PROBER = Path(__file__).parents[1] / "probes_packet" / "in_namespace.py"
HERE, THERE = "10.88.0.1", "10.88.0.2"
SSH, DNS, NTP, SNMP, STUN = 22, 53, 123, 161, 3478
CLOSED, DROPPED, PROHIBITED, HOST_UNREACHABLE, PORT_UNREACHABLE = 6000, 6001, 6002, 6003, 6004
PORTS = (CLOSED, DROPPED, PROHIBITED, HOST_UNREACHABLE, PORT_UNREACHABLE)
ONCE = Options(count=1, timeout_s=1.0)
RULES = (
    f"meta l4proto {{ tcp, udp }} th dport {DROPPED} drop",
    f"meta l4proto {{ tcp, udp }} th dport {PROHIBITED} reject with icmp type admin-prohibited",
    f"meta l4proto {{ tcp, udp }} th dport {HOST_UNREACHABLE} reject with icmp type host-unreachable",
    f"meta l4proto {{ tcp, udp }} th dport {PORT_UNREACHABLE} reject with icmp type port-unreachable",
)


def configured(folder: Path) -> list[list[str]]:
    """The command lines of five servers, their files in ``folder``."""
    (folder / "ntp.conf").write_text("disable ntp\ntos orphan 5 orphanwait 0\n")
    (folder / "snmpd.conf").write_text(f"agentaddress udp:{SNMP}\nrocommunity public\nsysdescr a test\n")
    key = folder / "hostkey"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (folder / "sshd_config").write_text(f"HostKey {key}\nPidFile {folder}/sshd.pid\nPort {SSH}\n")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    turn = ["-n", "--no-auth", "--no-cli", "--listening-ip", THERE, "--listening-port", str(STUN)]
    turn += [
        "--no-tcp",
        "--no-tls",
        "--no-dtls",
        "--log-file",
        "stdout",
        "--pidfile",
        str(folder / "turn.pid"),
    ]
    listening = f"listen-on {{ {THERE}; }}; listen-on-v6 {{ none; }}; recursion no; pid-file none;"
    (folder / "named.conf").write_text(f'options {{ directory "{folder}"; {listening} }};\ncontrols {{ }};\n')
    return [
        ["named", "-g", "-c", str(folder / "named.conf")],
        ["ntpd", "-n", "-c", str(folder / "ntp.conf"), "-f", str(folder / "drift")],
        ["snmpd", "-f", "-Lo", "-C", "-c", str(folder / "snmpd.conf"), "-p", str(folder / "snmpd.pid")],
        ["turnserver", *turn],
        ["sshd", "-D", "-e", "-f", str(folder / "sshd_config")],
    ]


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Host, Host]]:
    """A prober, and a host with five servers and a filter."""
    folder = Path(tempfile.mkdtemp(prefix="pm-"))
    folder.chmod(0o755)
    with NetLab() as lab, contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        here, there = lab.host("a"), lab.host("b")
        lab.link(here, there, f"{HERE}/24", f"{THERE}/24")
        there.sysctl(net__ipv4__icmp_ratelimit=0)
        there.chain("input", *RULES)
        log = stack.enter_context((folder / "log").open("wb"))
        state = {"SNMP_PERSISTENT_DIR": str(folder)}
        for name, *words in configured(folder):
            command = (program(name) or name, *words)
            stack.enter_context(there.start(*command, env=state, stdout=log, stderr=log))
        wait_until_bound(there, (SSH, DNS, NTP, SNMP, STUN), folder / "log")
        yield here, there


def wait_until_bound(host: Host, ports: Sequence[int], log: Path) -> None:
    until = time.monotonic() + 20.0
    while True:
        bound = host.run("ss", "-Hlntu")
        missing = [port for port in ports if f":{port} " not in bound]
        if not missing:
            return
        assert time.monotonic() < until, f"nothing is at {missing}: {log.read_text(errors='replace')[-2000:]}"
        time.sleep(0.05)


def probed(host: Host, spec: Spec, *ports: int) -> dict[int, Measurement]:
    kind = Kind.UDP if isinstance(spec, UdpSpec) else Kind.TCP
    target = Target(THERE, THERE, tuple(PortRange(port, port) for port in sorted(ports)))
    given = pickle.dumps((0, kind, spec, [target], 20.0))
    command = host.command(sys.executable, str(PROBER))
    done = subprocess.run(command, input=given, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return {row.port: row for row in pickle.loads(done.stdout)}


def nmap(host: Host, scan: str, *ports: int) -> dict[int, tuple[str, str]]:
    """State and reason of each port, as nmap tells them."""
    listed = ",".join(map(str, ports))
    quick = ("--max-retries", "1", "-T4", "--host-timeout", "40s")
    told = host.run("nmap", scan, "-Pn", "-n", "--reason", *quick, "-p", listed, "-oX", "-", THERE)
    found = {}
    for port in ElementTree.fromstring(told).iter("port"):
        state = port.find("state")
        assert state is not None
        found[int(port.attrib["portid"])] = (state.attrib["state"], state.attrib["reason"])
    for many in ElementTree.fromstring(told).iter("extraports"):
        for group in many.iter("extrareasons"):
            for span in group.attrib["ports"].split(","):
                first, _, last = span.partition("-")
                alike = (many.attrib["state"], group.attrib["reason"])
                found |= dict.fromkeys(range(int(first), int(last or first) + 1), alike)
    return found


def said(rows: dict[int, Measurement]) -> dict[int, tuple[str | None, str | None]]:
    details = {port: row.detail for port, row in rows.items()}
    assert all(isinstance(detail, TcpDetail | UdpDetail) for detail in details.values())
    return {port: (detail.state, detail.reason) for port, detail in details.items()}  # type: ignore[union-attr]


def test_tcp_connects_beside_nmap(pair: tuple[Host, Host]) -> None:
    """nmap's connect scan knows errno alone: ICMP errors are compared with its SYN scan, which sees them."""
    here, _ = pair
    ours = said(probed(here, TcpSpec(ONCE), SSH, *PORTS))
    connects, syns = nmap(here, "-sT", SSH, *PORTS), nmap(here, "-sS", SSH, *PORTS)
    for port in (SSH, CLOSED, DROPPED):
        assert ours[port] == connects[port], port
    for port in (DROPPED, PROHIBITED, HOST_UNREACHABLE, PORT_UNREACHABLE):
        assert ours[port] == syns[port], port
    assert ours[PROHIBITED] == ("filtered", "admin-prohibited")


def test_udp_beside_nmap(pair: tuple[Host, Host]) -> None:
    here, _ = pair
    ports = (DNS, NTP, SNMP, STUN, CLOSED, DROPPED, PROHIBITED, HOST_UNREACHABLE)
    assert said(probed(here, UdpSpec(ONCE), *ports)) == nmap(here, "-sU", *ports)


def test_ready_made_datagrams_are_answered_by_real_servers(pair: tuple[Host, Host]) -> None:
    here, _ = pair
    rows = probed(here, UdpSpec(ONCE), DNS, NTP, SNMP, STUN)
    assert {row.outcome for row in rows.values()} == {Outcome.OK}
    texts = {}
    for row in rows.values():
        assert isinstance(row.detail, UdpDetail) and row.detail.answer_text
        texts[row.detail.protocol] = row.detail.answer_text
    assert texts["dns"] == "REFUSED, 0 answers, 0 authorities", "it has no root zone, and recurses for nobody"
    assert texts["ntp"].startswith("stratum ") and " ms" in texts["ntp"]
    offset = float(texts["ntp"].split("offset ")[1].split(" ms")[0])
    assert abs(offset) < 50, "one clock, twice"
    assert texts["snmp"].startswith("up ") and texts["snmp"].endswith(", a test")
    assert texts["stun"].startswith(f"mapped address {HERE}:")
    engine = probed(here, UdpSpec(ONCE, request=UdpRequest.SNMP3), SNMP)[SNMP]
    assert isinstance(engine.detail, UdpDetail) and engine.detail.answer_text
    assert engine.detail.answer_text.startswith("engine 80001f88")


def test_what_a_diagnosis_says_to_them_is_answered_too(pair: tuple[Host, Host]) -> None:
    here, _ = pair
    for port in (DNS, NTP, SNMP, STUN):
        row = probed(here, UdpSpec(ONCE, payload=hello(port)), port)[port]
        assert row.outcome is Outcome.OK, (port, row)


def test_a_request_of_another_protocol_is_not_answered(pair: tuple[Host, Host]) -> None:
    here, _ = pair
    row = probed(here, UdpSpec(Options(count=1, timeout_s=0.5), request=UdpRequest.DNS), STUN)[STUN]
    assert row.outcome is Outcome.TIMEOUT and row.failure is not None
    assert "a valid dns request: open or filtered" in row.failure.detail


def test_the_scan_of_a_thousand_ports_beside_nmap(pair: tuple[Host, Host]) -> None:
    here, _ = pair
    target = range(1, 1001)
    ours = said(probed(here, TcpSpec(ONCE), *target))
    assert ours == nmap(here, "-sT", *target)
    assert ours[SSH] == ("open", "syn-ack")


def test_sshd_by_the_command_line(pair: tuple[Host, Host], tmp_path: Path) -> None:
    """Its banner, what it makes of our FIN, and the source port that was asked for."""
    here, _ = pair
    meshctl = str(Path(sys.executable).with_name("meshctl"))
    words = (
        "--kind",
        "tcp",
        "--banner",
        "--half-close",
        "--source-port",
        "4000-4009",
        "-c",
        "2",
        "-o",
        "json",
    )
    home = ("env", f"MESHCTL_CONFIG={tmp_path}/config.toml", "MESHCTL_HISTORY=off")
    told = here.run(*home, meshctl, "probe", f"{THERE}:{SSH}", "--from", "self", *words)
    (row,) = json.loads(told)["vantages"][0]["measurements"]
    detail = row["detail"]
    assert (row["outcome"], detail["state"], detail["reason"]) == ("ok", "open", "syn-ack")
    assert detail["banner"].startswith("SSH-2.0-OpenSSH") and detail["banner_protocol"] == "ssh"
    assert detail["close"] == "fin" and detail["close_ms"] >= 0
    assert detail["local_port"] == 4000 and row["sent"] == 2
