"""``mesh-agent doctor`` asks the controller: a handshake alone does not tell a revocation."""

from tests.flows.conftest import Machine, Site, until


def controllers(host: Machine) -> dict[str, str]:
    (found,) = [
        one for one in host.agent("doctor", "-o", "json").json["checks"] if one["name"] == "controller"
    ]
    return found


def test_doctor_tells_a_revocation_and_disturbs_no_running_agent(site: Site) -> None:
    mesh = site.mesh("lab")
    host = mesh.host("tokyo-1")
    said = controllers(host)
    assert said["status"] == "warning" and "no session" in said["text"]

    agent = host.start("mesh-agent", "run", "--policy", str(host.home / "policy.toml"))

    def connected() -> bool:
        return mesh.machine.meshctl("agents", "show", "tokyo-1", "-o", "json").json["state"] == "connected"

    until(connected, "the agent is connected")
    for _ in range(3):
        said = controllers(host)
        assert said["status"] == "ok" and "accepts our certificate" in said["text"]
    assert "attached already" not in mesh.controller.said
    assert agent.said.count("session with") == 1 and connected()

    assert mesh.machine.meshctl("agents", "revoke", "tokyo-1").code == 0
    said = controllers(host)
    assert said["status"] == "failed" and "revoked" in said["text"]
    assert host.agent("doctor").code != 0
    mesh.away()
    again = mesh.machine.start("meshctl", "controller", "run", "--listen", mesh.address)
    again.until_said("is reached at")
    assert "revoked" in controllers(host)["text"]
