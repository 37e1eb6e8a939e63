"""Markers that say what a test needs; missing means skipped with the reason, or failed where all must run
(CI)."""

import os
import shutil
import tempfile

import pytest
from hypothesis import settings

# A busy machine is no fault of what is tested: that an example ends is what pytest's own limit is for.
settings.register_profile("probemesh", deadline=None)
settings.load_profile("probemesh")

REQUIRE_ALL = os.environ.get("PROBEMESH_REQUIRE_ALL") == "1"


def pytest_configure(config: pytest.Config) -> None:
    """Programs that tests run leave no runs in the history of whoever runs the tests."""
    state = tempfile.mkdtemp(prefix="probemesh-tests-")
    config.add_cleanup(lambda: shutil.rmtree(state, ignore_errors=True))
    os.environ["XDG_STATE_HOME"] = state


def _missing(item: pytest.Item) -> str | None:
    if item.get_closest_marker("netns"):
        if os.geteuid() != 0:
            return "wants root for network namespaces"
        for program in ("ip", "nft"):
            if shutil.which(program) is None:
                return f"wants the program {program} (Debian packages iproute2 and nftables)"
    for mark in item.iter_markers("tool"):
        if shutil.which(mark.args[0]) is None:
            return f"wants the program {mark.args[0]}"
    return None


def wanting(reason: str) -> None:
    """Ends a test that this machine cannot run: skipped, or failed where all must run."""
    if REQUIRE_ALL:
        pytest.fail(f"PROBEMESH_REQUIRE_ALL is set, and this test {reason}", pytrace=False)
    pytest.skip(reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if reason := _missing(item):
        wanting(reason)
