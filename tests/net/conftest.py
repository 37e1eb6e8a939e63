"""The system's clock, and a network on loopback for what a user typed."""

import pytest
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Policy
from probemesh_shared.clock import SystemClock


@pytest.fixture
def clock() -> SystemClock:
    return SystemClock()


@pytest.fixture
async def network(clock: SystemClock) -> SystemNetwork:
    return SystemNetwork(clock, Policy.typed_by_user())
