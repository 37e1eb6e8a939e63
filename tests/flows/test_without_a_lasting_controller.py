"""README and deploy.md, "without a lasting controller", as written: real programs, real certificates."""

import signal
import socket

from tests.flows.conftest import Site
from tests.ports import free_port


def vantage(said, agent):
    return next(one for one in said.json["vantages"] if one["agent"] == agent)


def test_agents_are_dialled_from_the_laptop_once_the_controller_is_gone(site: Site, service: int) -> None:
    mesh, port = site.mesh("lab"), free_port()
    mesh.listening("tokyo-1", port)
    laptop = mesh.laptop("ann")
    for machine in (mesh.machine, laptop):
        added = machine.meshctl("agents", "add", "tokyo-1", f"127.0.0.1:{port}", "--site", "tokyo")
        assert added.code == 0, added.err
    mesh.away()
    for machine in (mesh.machine, laptop):
        said = machine.meshctl("probe", f"127.0.0.1:{service}", "--count", "1", "-o", "json")
        assert said.code == 0, said.err
        assert vantage(said, "tokyo-1")["outcome"] == "ok"
        assert f"the controller is away ({mesh.address} cannot be reached: connection refused)" in said.err
        assert "are dialled from here" in said.err
        (agent,) = machine.meshctl("agents", "-o", "json").json["agents"]
        assert (agent["name"], agent["state"], agent["reason"]) == ("tokyo-1", "connected", None)


def test_a_controller_that_hangs_is_away_too(site: Site, service: int) -> None:
    mesh, port = site.mesh("lab"), free_port()
    mesh.listening("tokyo-1", port)
    assert mesh.machine.meshctl("agents", "add", "tokyo-1", f"127.0.0.1:{port}").code == 0
    mesh.controller.process.send_signal(signal.SIGSTOP)
    try:
        said = mesh.machine.meshctl("probe", f"127.0.0.1:{service}", "--count", "1", "-o", "json")
    finally:
        mesh.controller.process.send_signal(signal.SIGCONT)
    assert said.code == 0 and vantage(said, "tokyo-1")["outcome"] == "ok"
    assert f"{mesh.address} gives no answer within" in said.err


def test_what_only_a_controller_can_do_says_that_it_is_away(site: Site) -> None:
    mesh, port = site.mesh("lab"), free_port()
    mesh.listening("tokyo-1", port)
    assert mesh.machine.meshctl("agents", "add", "tokyo-1", f"127.0.0.1:{port}").code == 0
    mesh.away()
    for command in ("token create", "agents revoke tokyo-1", "agents label tokyo-1 a=b"):
        said = mesh.machine.meshctl(*command.split())
        assert said.code == 4 and "connection refused" in said.err and "dialled" not in said.err, said.err


def test_a_controller_is_forgotten_for_good_on_request(site: Site, service: int) -> None:
    mesh, port = site.mesh("lab"), free_port()
    mesh.listening("tokyo-1", port)
    assert mesh.machine.meshctl("agents", "add", "tokyo-1", f"127.0.0.1:{port}").code == 0
    mesh.away()
    forgot = mesh.machine.meshctl("controller", "forget")
    assert forgot.code == 0 and mesh.address in forgot.out
    said = mesh.machine.meshctl("probe", f"127.0.0.1:{service}", "--count", "1", "-o", "json")
    assert said.code == 0 and said.err == ""
    assert mesh.machine.meshctl("controller", "forget").code == 2


def test_our_certificate_refused_is_not_away(site: Site, service: int) -> None:
    """Whoever is refused by the controller is not let in by another door."""
    mesh, port = site.mesh("lab"), free_port()
    mesh.listening("tokyo-1", port)
    assert mesh.machine.meshctl("agents", "add", "tokyo-1", f"127.0.0.1:{port}").code == 0
    mesh.away()
    other = site.machine("other")
    assert other.meshctl("init", "--name", "other").code == 0
    stranger = other.start("meshctl", "controller", "run", "--listen", mesh.address)
    stranger.until_said("is reached at")
    said = mesh.machine.meshctl("probe", f"127.0.0.1:{service}", "--count", "1")
    assert said.code == 4 and "not from this mesh's CA" in said.err


# --- why an agent could not be dialled -------------------------------------------------------------------


def test_add_says_who_is_there_and_who_is_not(site: Site) -> None:
    mesh, port = site.mesh("lab"), free_port()
    mesh.listening("tokyo-1", port)
    said = mesh.machine.meshctl("agents", "add", "other", f"127.0.0.1:{port}")
    assert said.code == 4 and "tokyo-1" in said.err and "does not answer" not in said.err
    foreign = site.mesh("foreign")
    said = foreign.machine.meshctl("agents", "add", "tokyo-1", f"127.0.0.1:{port}")
    assert said.code == 4 and "not from this mesh's CA" in said.err and "does not answer" not in said.err
    viewer = mesh.laptop("vic", "viewer")
    said = viewer.meshctl("agents", "add", "tokyo-1", f"127.0.0.1:{port}")
    assert said.code == 4 and "needs the role operator" in said.err
    said = mesh.machine.meshctl("agents", "add", "tokyo-1", f"127.0.0.1:{free_port()}")
    assert said.code == 4 and "connection refused" in said.err
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        silent = deaf.getsockname()[1]
        said = mesh.machine.meshctl("agents", "add", "tokyo-1", f"127.0.0.1:{silent}")
        assert said.code == 4 and "no answer" in said.err


def test_agents_probe_and_doctor_tell_why_an_agent_was_never_reached(site: Site, service: int) -> None:
    mesh, foreign = site.mesh("lab"), site.mesh("foreign")
    port, dead = free_port(), free_port()
    mesh.listening("tokyo-1", port)
    laptop = foreign.machine
    foreign.away()
    config = laptop.home / ".config" / "meshctl" / "config.toml"
    kept = "".join(line for line in config.read_text().splitlines(True) if not line.startswith("controller"))
    config.write_text(
        kept
        + f'\n[contexts.foreign.agents.tokyo-1]\naddress = "127.0.0.1:{port}"\n'
        + f'\n[contexts.foreign.agents.berlin-1]\naddress = "127.0.0.1:{dead}"\n'
    )
    told = laptop.meshctl("agents", "-o", "json")
    berlin, tokyo = told.json["agents"]
    assert [one["state"] for one in (berlin, tokyo)] == ["lost", "lost"]
    assert [one["last_seen"] for one in (berlin, tokyo)] == [None, None]
    assert "connection refused" in berlin["reason"] and "not from this mesh's CA" in tokyo["reason"]
    table = laptop.meshctl("agents")
    assert "never" in table.out and "connection refused" in table.err and "this mesh's CA" in table.err

    probed = laptop.meshctl("probe", f"127.0.0.1:{service}", "--from", "all", "-o", "json")
    assert probed.code == 4
    texts = str(probed.json["findings"])
    assert "last seen" not in texts and "connection refused" in texts and "this mesh's CA" in texts

    doctor = laptop.meshctl("doctor", "-o", "json")
    checks = {one["name"]: one for one in doctor.json["checks"]}
    assert doctor.code == 4
    assert not {"controller", "version", "clock"} & set(checks)
    assert checks["agent berlin-1"]["status"] == "failed" and "refused" in checks["agent berlin-1"]["text"]
    assert checks["agent tokyo-1"]["status"] == "failed" and "CA" in checks["agent tokyo-1"]["text"]


def test_doctor_tells_of_every_listening_agent(site: Site) -> None:
    mesh, port = site.mesh("lab"), free_port()
    mesh.listening("tokyo-1", port)
    assert mesh.machine.meshctl("agents", "add", "tokyo-1", f"127.0.0.1:{port}").code == 0
    mesh.away()
    doctor = mesh.machine.meshctl("doctor", "-o", "json")
    checks = {one["name"]: one for one in doctor.json["checks"]}
    assert (
        checks["controller"]["status"] == "warning" and "connection refused" in checks["controller"]["text"]
    )
    assert checks["agent tokyo-1"]["status"] == "ok"
    assert doctor.code == 0
