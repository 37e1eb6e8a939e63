"""config.toml: precedence, round trip, and what is said of a file that cannot be used."""

import stat
from pathlib import Path

import pytest
from probemesh_controller import config
from probemesh_controller.config import Config, ListeningAgent, MeshContext
from probemesh_shared.errors import InvalidRequest, StateError


def test_flag_then_environment_then_default(tmp_path):
    env = {"HOME": "/home/a", "MESHCTL_CONFIG": "/env.toml"}
    assert config.config_path(Path("/flag.toml"), env) == (Path("/flag.toml"), "--config")
    assert config.config_path(None, env) == (Path("/env.toml"), "MESHCTL_CONFIG")
    assert config.config_path(None, {"HOME": "/home/a"})[0] == Path("/home/a/.config/meshctl/config.toml")
    assert config.config_path(None, {"XDG_CONFIG_HOME": "/x"})[0] == Path("/x/meshctl/config.toml")


def test_state_directory(tmp_path):
    assert config.state_dir(Path("/flag"), {"MESHCTL_STATE": "/env"}) == Path("/flag")
    assert config.state_dir(None, {"MESHCTL_STATE": "/env", "STATE_DIRECTORY": "/s"}) == Path("/env")
    assert config.state_dir(None, {"STATE_DIRECTORY": "/var/lib/probemesh"}) == Path("/var/lib/probemesh")
    assert config.state_dir(None, {"XDG_STATE_HOME": "/x"}) == Path("/x/probemesh")
    assert config.state_dir(None, {"HOME": "/h"}) == Path("/h/.local/state/probemesh")


def test_what_is_written_reads_back(tmp_path):
    agents = {"a.b-1": ListeningAgent("[::1]:7401", "site"), "c": ListeningAgent("h:1")}
    odd = MeshContext('we"ird\\ \x7fname', "mesh", tmp_path / "sub" / "operator", "h:7400")
    plain = MeshContext("plain", "mesh", Path("/elsewhere/operator"), None, agents)
    written = Config(tmp_path / "sub" / "config.toml").with_context(odd).with_context(plain, use=False)
    config.save(written)
    assert config.load(written.path) == written
    assert 'identity = "operator"' in written.path.read_text()
    assert stat.S_IMODE(written.path.stat().st_mode) == 0o600
    assert [path.name for path in written.path.parent.iterdir()] == ["config.toml"]


def test_a_file_that_does_not_exist_is_empty(tmp_path):
    settings = config.load(tmp_path / "none.toml")
    assert settings.contexts == {}
    assert config.choose(settings, None, {}) == (None, "none")


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "contexts = 3",
        "[contexts.a]\nmesh = 3",
        "[contexts.a]\nmesh = 'A B'",
        "[contexts.a]\n",
        "current = 1",
        "[contexts.a]\nmesh='m'\ncontroller='h'",
        "[contexts.a]\nmesh='m'\n[contexts.a.agents.b]\naddress='h:0'",
    ],
)
def test_a_file_that_cannot_be_used_names_itself(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(StateError, match=r"config\.toml"):
        config.load(path)


def contexts(*names, current=None):
    return Config(Path("/c"), current, {name: MeshContext(name, "m", Path("/i")) for name in names})


def test_a_context_is_chosen_by_flag_environment_file_or_because_it_is_the_only_one():
    both = contexts("a", "b", current="a")
    assert config.choose(both, "b", {"MESHCTL_CONTEXT": "a"})[0].name == "b"
    assert config.choose(both, None, {"MESHCTL_CONTEXT": "b"})[0].name == "b"
    assert config.choose(both, None, {})[0].name == "a"
    assert config.choose(contexts("only"), None, {})[0].name == "only"
    with pytest.raises(InvalidRequest, match="no context is chosen"):
        config.choose(contexts("a", "b"), None, {})
    with pytest.raises(InvalidRequest) as caught:
        config.choose(contexts("berlin"), "berln", {})
    assert caught.value.hint == "did you mean 'berlin'?"
