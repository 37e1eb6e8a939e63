"""The agent's own source address serves what it can, and nothing else."""

import pytest
from probemesh_agent.net.sources import check_source, sourced
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.model import Options


@pytest.mark.parametrize(
    ("default", "host", "used"),
    [
        ("127.0.1.2", "127.0.0.1", True),
        ("127.0.1.2", "192.0.2.1", False),  # the kernel would not route it
        ("10.0.0.5", "192.0.2.1", True),
        ("10.0.0.5", "127.0.0.1", False),
        ("10.0.0.5", "2001:db8::1", False),
        ("2001:db8::5", "fe80::1%lo", True),
        (None, "127.0.0.1", False),
    ],
)
def test_the_default_source_serves_its_family_and_scope(default: str | None, host: str, used: bool) -> None:
    assert sourced(Options(), default, host).source == (default if used else None)


def test_a_source_that_was_asked_for_wins() -> None:
    assert sourced(Options(source="lo"), "127.0.1.2", "127.0.0.1").source == "lo"


def test_a_source_is_an_address() -> None:
    assert check_source("2001:DB8::0:1") == "2001:db8::1"
    with pytest.raises(InvalidRequest):
        check_source("eth0")
