"""Who a certificate says its holder is."""

import pytest
from probemesh_shared.identity.names import agent_dns, controller_dns, subject_of, subject_uri
from probemesh_shared.words import Role


@pytest.mark.parametrize("role", list(Role))
def test_round_trip(role: Role) -> None:
    dns = {Role.AGENT: (agent_dns("berlin.eu-1", "demo"),), Role.CONTROLLER: (controller_dns("demo"),)}
    subject = subject_of((subject_uri("demo", role, "id-1"),), dns.get(role, ()))
    assert (subject.mesh, subject.role, subject.id) == ("demo", role, "id-1")
    assert subject.name == ("berlin.eu-1" if role is Role.AGENT else "id-1")


@pytest.mark.parametrize(
    "uris",
    [
        (),
        ("spiffe://demo.probemesh.internal/agent/a", "spiffe://demo.probemesh.internal/admin/a"),
        ("spiffe://demo.probemesh.internal/root/a",),
        ("spiffe://demo.probemesh.internal/admin/",),
        ("spiffe://demo.probemesh.internal/admin/a/b",),
        ("spiffe://demo.probemesh.internal.evil.example/admin/a",),
        ("spiffe://demo.probemesh.internal/admin/a\n",),
        ("https://demo.probemesh.internal/admin/a",),
        ("spiffe://probemesh.internal/admin/a",),
    ],
)
def test_anything_else_is_nobody(uris: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        subject_of(uris, (agent_dns("a", "demo"),))


@pytest.mark.parametrize("dns", [(), ("a.agent.other.probemesh.internal",), ("a.demo.probemesh.internal",)])
def test_an_agent_needs_its_name_in_its_own_mesh(dns: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="without its name"):
        subject_of((subject_uri("demo", Role.AGENT, "4f"),), dns)
