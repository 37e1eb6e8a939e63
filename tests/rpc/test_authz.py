"""The table of who may call what: whole, written twice, and in words; ``test_matrix`` tries it out."""

import pytest
from probemesh_shared.errors import MeshError, NotAllowed
from probemesh_shared.rpc.authz import ALLOWED, allowed, check_table, refusal
from probemesh_shared.words import Role

from tests.rpc.methods import METHODS

#: Written a second time on purpose: a change of the table has to be made twice.
EXPECTED = {
    Role.VIEWER: {"Mesh/Status", "Mesh/ListAgents", "Enrolment/Renew"},
    Role.OPERATOR: {
        "Mesh/Status",
        "Mesh/ListAgents",
        "Mesh/Run",
        "Mesh/CancelRun",
        "Agent/Attach",
        "Enrolment/Renew",
    },
    Role.ADMIN: {
        "Mesh/Status",
        "Mesh/ListAgents",
        "Mesh/Run",
        "Mesh/CancelRun",
        "Mesh/LabelAgent",
        "Mesh/RevokeAgent",
        "Mesh/CreateToken",
        "Mesh/Audit",
        "Agent/Attach",
        "Enrolment/Renew",
        "Trust/ListOperators",
        "Trust/RevokeOperator",
        "Trust/GetCa",
        "Trust/RotateCa",
    },
    Role.AGENT: {"Fleet/Attach", "Enrolment/Standing", "Enrolment/Renew"},
    Role.JOIN: {"Enrolment/Enrol"},
    Role.CONTROLLER: {"Agent/Attach"},
    Role.RENEWAL: {"Enrolment/Renew"},
}


def test_the_table_has_a_row_for_every_method_and_no_other() -> None:
    assert set(ALLOWED) == set(METHODS)
    assert {
        role: {m.removeprefix("/probemesh.v1.") for m in METHODS if allowed(m, role)} for role in Role
    } == EXPECTED


@pytest.mark.parametrize("role", list(Role))
def test_a_method_without_a_row_is_denied(role: Role) -> None:
    assert not allowed("/probemesh.v1.Mesh/Forgotten", role)


@pytest.mark.parametrize(
    ("method", "role", "says"),
    [
        ("Mesh/CreateToken", Role.OPERATOR, "operator ann may not create tokens: that needs the role admin"),
        ("Mesh/Run", Role.VIEWER, "viewer ann may not run probes: that needs the role operator"),
        ("Mesh/Status", Role.AGENT, "agent ann may not look at the mesh: that needs the role viewer"),
        ("Mesh/Run", Role.JOIN, "a token may not run probes: that needs the role operator"),
        ("Enrolment/Enrol", Role.ADMIN, "admin ann may not join the mesh: that needs a token"),
        ("Fleet/Attach", Role.CONTROLLER, "a controller may not offer itself as a vantage point: "),
        ("Mesh/Forgotten", Role.ADMIN, "admin ann may not do that"),
    ],
)
def test_a_refusal_says_in_words_what_is_needed(method: str, role: Role, says: str) -> None:
    assert refusal(f"/probemesh.v1.{method}", role, "ann").startswith(says)


@pytest.mark.parametrize("method", METHODS)
def test_no_refusal_names_a_method(method: str) -> None:
    said = refusal(method, Role.VIEWER, "ann")
    assert "do that" not in said
    assert method.rpartition("/")[2] not in said


def test_start_fails_without_a_row() -> None:
    table = {path: roles for path, roles in ALLOWED.items() if not path.endswith("RevokeAgent")}
    with pytest.raises(RuntimeError, match=r"without a rule.*RevokeAgent"):
        check_table(METHODS, table)


def test_start_fails_with_a_row_that_nobody_serves() -> None:
    with pytest.raises(RuntimeError, match=r"nobody serves: /probemesh\.v1\.Mesh/Status"):
        check_table([path for path in METHODS if path != "/probemesh.v1.Mesh/Status"])


async def test_a_server_with_a_forgotten_method_does_not_start(
    serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "probemesh_shared.rpc.server.check_table",
        lambda methods: check_table([*methods, "/probemesh.v1.Mesh/Forgotten"]),
    )
    with pytest.raises(RuntimeError, match="Forgotten"):
        await serve()


async def test_messages_of_who_is_not_allowed_are_not_even_parsed(serve, ca, agent, admin) -> None:
    served = await serve()
    for identity, error in ((agent, NotAllowed), (admin, MeshError)):
        connection = served.dial(identity)
        raw = connection.channel.unary_unary("/probemesh.v1.Mesh/LabelAgent")
        with pytest.raises(error, match=r"may not label agents: that needs the role admin|cannot be read"):
            await connection.call(raw, b"\xff\xff\xff")
