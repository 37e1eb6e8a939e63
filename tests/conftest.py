"""Markers that say what a test needs; missing means skipped with the reason, or failed where all must run
(CI)."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

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


# --- several workers at once (make test)

#: What takes longest, and minds a busy machine most, is one worker's from the beginning, in this order: labs,
#: then the programs that are killed, which share a mesh. Most others are done when it comes to those.
HEAVY = ("tests/lab/test_labs.py", "tests/chaos/")


class ByFile(LoadScopeScheduling):
    """The tests of one file go to one worker, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return "heavy" if nodeid.startswith(HEAVY) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    config.option.loadscopereorder = False
    return ByFile(config, log)


def _urgency(item: pytest.Item) -> int:
    """Lower goes first."""
    for place, begin in enumerate(HEAVY):
        if item.nodeid.startswith(begin):
            return place
    return len(HEAVY) + (item.get_closest_marker("slow") is None)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Each file as early as its most urgent test; within a file all stays as it stands."""
    if not hasattr(config, "workerinput"):
        return
    urgency: dict[Path, int] = {}
    for item in items:
        urgency[item.path] = min(urgency.get(item.path, len(HEAVY) + 1), _urgency(item))
    items.sort(key=lambda item: urgency[item.path])
