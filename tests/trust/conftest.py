"""Ports that nobody has."""

import socket

import pytest


@pytest.fixture
def free_port() -> int:
    """Free a moment ago: an agent that is started twice has to listen where it did."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
