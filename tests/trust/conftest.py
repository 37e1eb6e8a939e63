"""Ports that nobody has."""

import pytest

from tests import ports


@pytest.fixture
def free_port() -> int:
    """An agent that is started twice has to listen where it did."""
    return ports.free_port()
