"""An agent that cannot go the way asked for is not sent straight."""

import pytest
from probemesh_controller.planning import _too_old
from probemesh_shared.model import AgentInfo, HttpSpec, Options, TcpSpec
from probemesh_shared.session.frames import HTTP_WAYS

OLD = AgentInfo("old", version="0.0.9", capabilities=("kind:http",))
NEW = AgentInfo("new", version="0.1.0", capabilities=("kind:http", HTTP_WAYS))


@pytest.mark.parametrize(
    "spec",
    [
        HttpSpec(proxy="p:1"),
        HttpSpec(follow=1),
        HttpSpec(http_version="2"),
        HttpSpec(body=b"x"),
        HttpSpec(secret_headers=(("Authorization", "x"),)),
    ],
)
def test_what_an_old_agent_would_do_otherwise_it_is_not_asked(spec: HttpSpec) -> None:
    assert "upgrade it" in (_too_old(spec, OLD) or "")
    assert _too_old(spec, NEW) is None


@pytest.mark.parametrize("spec", [HttpSpec(), HttpSpec(Options(count=9), "HEAD", (("A", "b"),)), TcpSpec()])
def test_what_it_knows_it_is_asked(spec: HttpSpec | TcpSpec) -> None:
    assert _too_old(spec, OLD) is None
