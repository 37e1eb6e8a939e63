"""What a mesh narrows its agents to, by the programs themselves."""

import signal

from tests.flows.conftest import POLICY, Machine, Site, until


def narrowed_by(machine: Machine, name: str) -> list[str]:
    told = machine.meshctl("agents", "show", name, "-o", "json").json
    return [one["by"] for one in told["narrowed"]]


def test_a_token_and_a_file_narrow_an_agent_while_all_run(site: Site, service: int) -> None:
    mesh = site.mesh("lab")
    admin, tokyo = mesh.machine, site.machine("tokyo-1")
    only = ("--only-port", f"1-{service}", "--only-kind", "tcp")
    token = admin.meshctl("token", "create", "--name", "tokyo-1", *only, "-o", "json").json["token"]
    assert tokyo.agent("join", mesh.address, "--token-file", "-", stdin=token).code == 0
    policy = tokyo.home / "policy.toml"
    policy.write_text(POLICY)
    agent = tokyo.start("mesh-agent", "run", "--policy", str(policy))
    agent.until_said("session with")

    def outcome(*arguments: str) -> str:
        said = admin.meshctl("probe", *arguments, "--from", "tokyo-1", "--count", "1", "-o", "json")
        (vantage,) = said.json["vantages"]
        return str(vantage["outcome"])

    here = f"127.0.0.1:{service}"
    assert outcome(here, "--kind", "tcp") == "ok"
    assert outcome(here, "--kind", "http") == "denied"
    assert outcome(f"127.0.0.1:{service + 1}", "--kind", "tcp") == "denied"
    assert narrowed_by(admin, "tokyo-1") == ["the token that it joined with"]

    (state,) = admin.home.rglob("controller/store.sqlite")
    limits = state.parent.parent / "limits.toml"
    limits.write_text('[[limit]]\nfor = "tokyo-*"\nnetworks = ["10.0.0.0/8"]\n')
    mesh.controller.process.send_signal(signal.SIGHUP)
    until(lambda: "limits.toml was read: 1 limits" in mesh.controller.said, "the file is read")
    assert outcome(here, "--kind", "tcp") == "denied"
    assert narrowed_by(admin, "tokyo-1")[1:] == ["limits.toml (tokyo-*)"]
    shown = admin.meshctl("controller", "limits").out.splitlines()
    assert shown[0] == "tokyo-*  networks 10.0.0.0/8" and shown[-1].startswith("runs  at most ")

    limits.write_text("")
    assert outcome(here, "--kind", "tcp") == "ok"
    policy.write_text(POLICY + f"[deny]\nports = [{service}]\n")
    agent.process.send_signal(signal.SIGHUP)
    until(lambda: "was read again" in agent.said, "the policy is read")
    assert outcome(here, "--kind", "tcp") == "denied"
