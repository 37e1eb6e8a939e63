"""Three agents in namespaces with resolvers of their own, and servers that answer by who asks."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.lab.netlab import Host, NetLab
from tests.lab.test_mesh_behind_nat import BIN, CONTROLLER, NAMES, Mesh, connected, join, until, verdicts

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(300)]

BERLIN, TOKYO = "10.1.1.2", "10.1.2.2"
INSIDE, OUTSIDE = "203.0.113.54", "203.0.113.53"  # resolvers: berlin's, and everybody else's
WEB, SPARE, PRIVATE = "203.0.113.2", "203.0.113.3", "10.9.0.7"
DEAD = 7005
#: ``split`` and ``inside`` go by resolver, the others do not.
VIEWS = {
    INSIDE: {
        "split.lab": [PRIVATE],
        "inside.lab": [PRIVATE],
        "web.lab": [WEB],
        "two.lab": [WEB, SPARE],
        "pool.lab": [WEB, SPARE],
        "hosted.lab": [WEB],
    },
    OUTSIDE: {
        "split.lab": [WEB],
        "web.lab": [WEB],
        "two.lab": [WEB, SPARE],
        "pool.lab": [SPARE, WEB],
        "hosted.lab": [WEB],
    },
}


def build(lab: NetLab) -> tuple[dict[str, Host], Host, Host]:
    """Agents – W – controller and server. The server owns all of the addresses; one drops a port."""
    outer = lab.router("w")
    agents = {}
    for place, name in enumerate(NAMES, 1):
        host = agents[name] = lab.host(name)
        lab.link(host, outer, f"10.1.{place}.2/24", f"10.1.{place}.1/24")
        host.default_via(f"10.1.{place}.1")
        resolver = INSIDE if name == "berlin-1" else OUTSIDE
        lab.etc(host, "resolv.conf", f"nameserver {resolver}\noptions timeout:1 attempts:2\n")
        written = f"{SPARE} hosted.lab\n" if name == "tokyo-1" else ""
        lab.etc(host, "hosts", f"127.0.0.1 localhost\n{written}")
    home, server = lab.host("home"), lab.host("server")
    lab.link(home, outer, f"{CONTROLLER}/24", "198.51.100.1/24")
    lab.link(server, outer, f"{WEB}/24", "203.0.113.1/24")
    for one in (SPARE, INSIDE, OUTSIDE):
        server.run("ip", "addr", "add", f"{one}/24", "dev", "eth0")
    server.run("ip", "addr", "add", f"{PRIVATE}/32", "dev", "lo")
    outer.route(f"{PRIVATE}/32", "via", WEB)
    home.default_via("198.51.100.1")
    server.default_via("203.0.113.1")
    server.chain("input", f"ip daddr {SPARE} tcp dport {DEAD} drop")
    return agents, home, server


def plan(folder: Path) -> Path:
    """Certificates of two authorities, and who is answered what."""
    ours, box = trustme.CA(), trustme.CA(organization_name="Some Middlebox")
    for name, authority in (("ours", ours), ("box", box)):
        made = authority.issue_cert("web.lab", common_name=name)
        made.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}.pem"))
    http = {
        "7001": {"": {"body": "hello"}},
        "7002": {BERLIN: {"status": 203, "body": "an older copy"}, "": {"body": "hello"}},
        "7003": {TOKYO: {"delay_s": 0.8}, "": {}},
        str(DEAD): {"": {"body": "hello"}},
    }
    tls = {BERLIN: str(folder / "box.pem"), "": str(folder / "ours.pem")}
    file = folder / "plan.json"
    file.write_text(json.dumps({"views": VIEWS, "tls": tls, "http": http}))
    return file


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    state = tmp_path_factory.mktemp("mesh")
    with NetLab() as lab, ExitStack() as held:
        agents, home, server = build(lab)
        found = Mesh(lab, home, state)
        assert found.meshctl("init", "--state", str(state)).returncode == 0
        script = Path(__file__).with_name("answers_by_asker.py")
        log = held.enter_context((state / "server.log").open("wb"))
        held.enter_context(server.start(sys.executable, str(script), str(plan(state)), stderr=log))
        held.enter_context(
            home.start(
                str(BIN / "meshctl"),
                *("controller", "run", "--state", str(state), "--listen", f"{CONTROLLER}:7400"),
                env=found.environment,
            )
        )
        until(lambda: found.meshctl("agents").returncode == 0)
        for name, host in agents.items():
            join(found, name, host)
            command = (str(BIN / "mesh-agent"), "run", "--state", str(state / name))
            held.enter_context(host.start(*command))
        until(lambda: connected(found) == set(NAMES))
        yield found


def aspects(result: dict[str, Any]) -> dict[str, Any]:
    return {one["aspect"]: one for one in result["consistency"]}


def groups(view: dict[str, Any]) -> dict[str, list[str]]:
    return {one["value"]: one["vantages"] for one in view["groups"]}


def test_a_name_that_is_another_inside(mesh: Mesh) -> None:
    result, code = mesh.probe("http://split.lab:7001/")
    assert code == 0, result
    assert verdicts(result) == [("names-differ", ["berlin-1"])]
    (finding,) = result["findings"]
    assert finding["confidence"] == "likely"
    assert f"{PRIVATE} (by resolver {INSIDE}) for berlin-1" in finding["summary"]
    assert f"{WEB} (by resolver {OUTSIDE}) for tokyo-1 and virginia-1" in finding["summary"]
    view = aspects(result)["ipv4-addresses"]
    assert not view["agreed"]
    assert groups(view) == {
        f"{WEB} (resolver {OUTSIDE})": ["tokyo-1", "virginia-1"],
        f"{PRIVATE} (resolver {INSIDE})": ["berlin-1"],
    }
    assert aspects(result)["status"]["agreed"] and aspects(result)["body"]["agreed"]


def test_the_next_test_runs_and_shows_that_it_is_the_resolver(mesh: Mesh) -> None:
    result, _ = mesh.probe("http://split.lab:7001/")
    words = result["findings"][0]["next_test"].partition("#")[0].split()
    assert words[:2] == ["meshctl", "probe"]
    asked = json.loads(mesh.meshctl(*words[1:], "-o", "json").stdout)
    assert asked["vantages"][0]["agent"] == "tokyo-1"
    (row,) = asked["vantages"][0]["measurements"]
    assert [one["value"] for one in row["detail"]["answers"]] == [PRIVATE]


def test_a_name_that_is_known_inside_only(mesh: Mesh) -> None:
    result, code = mesh.probe("http://inside.lab:7001/")
    assert code == 3
    assert verdicts(result) == [("name-fails", ["tokyo-1", "virginia-1"]), ("names-differ", ["berlin-1"])]
    assert result["findings"][1]["confidence"] == "likely"


def test_a_name_that_one_has_by_hand(mesh: Mesh) -> None:
    result, code = mesh.probe("http://hosted.lab:7001/")
    assert code == 0
    assert verdicts(result) == [("names-differ", ["tokyo-1"])]
    (finding,) = result["findings"]
    assert (finding["confidence"], finding["alternatives"]) == ("likely", [])
    assert f"{SPARE} (by its /etc/hosts) for tokyo-1" in finding["summary"]
    assert finding["next_test"] == "on tokyo-1: grep -w hosted.lab /etc/hosts"


def test_a_pool_that_turns_is_no_difference(mesh: Mesh) -> None:
    result, code = mesh.probe("http://pool.lab:7001/")
    assert code == 0
    assert verdicts(result) == []
    assert all(view["agreed"] for view in result["consistency"]), result["consistency"]


def test_another_certificate_for_one(mesh: Mesh) -> None:
    result, code = mesh.probe("https://web.lab/")
    assert code == 0
    found = verdicts(result)
    assert ("certificate-differs", ["berlin-1"]) in found
    assert {verdict for verdict, _ in found} == {"certificate-invalid", "certificate-differs"}
    (finding,) = [one for one in result["findings"] if one["verdict"] == "certificate-differs"]
    assert (finding["confidence"], finding["alternatives"]) == (
        "likely",
        ["tls-intercept", "several-backends"],
    )
    assert "Some Middlebox" in finding["summary"] and "trustme" in finding["summary"]
    assert [group["vantages"] for group in aspects(result)["certificate"]["groups"]] == [
        ["tokyo-1", "virginia-1"],
        ["berlin-1"],
    ]


def test_one_address_of_two_is_dead_for_all(mesh: Mesh) -> None:
    result, code = mesh.probe(f"two.lab:{DEAD}")
    assert code == 0
    assert verdicts(result) == [("address-broken", list(NAMES))]
    summary = result["findings"][0]["summary"]
    assert summary.startswith(f"{SPARE} of two.lab (tcp {DEAD}) is dead from all who tried it")


def test_one_is_answered_otherwise(mesh: Mesh) -> None:
    result, code = mesh.probe("http://web.lab:7002/")
    assert code == 0
    assert verdicts(result) == [("answer-differs", ["berlin-1"])]
    assert "203 for berlin-1, 200 for tokyo-1 and virginia-1" in result["findings"][0]["summary"]


def test_one_waits_longer_for_the_same_answer(mesh: Mesh) -> None:
    result, code = mesh.probe("http://web.lab:7003/")
    assert code == 0
    assert verdicts(result) == [("slow-from", ["tokyo-1"])]
    (finding,) = result["findings"]
    assert (finding["confidence"], finding["scope"]["port"]) == ("likely", 7003)
    assert "from there is not: it is not the distance" in finding["summary"]


def test_the_table_says_in_a_line_what_differs(mesh: Mesh) -> None:
    table = mesh.meshctl("probe", "http://split.lab:7001/", "--from", "all", "--timeout", "1").stdout
    (line,) = [line for line in table.splitlines() if line.startswith("≠")]
    assert line.startswith("≠ IPv4 addresses: ")
    wide = mesh.meshctl(
        "probe", "http://web.lab:7001/", "--from", "all", "--timeout", "1", "-o", "wide"
    ).stdout
    assert "≠" not in wide
    assert any(line.startswith("status (port 7001)   yes") for line in wide.splitlines()), wide
