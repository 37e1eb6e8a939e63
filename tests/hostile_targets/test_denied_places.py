"""Places that nobody may be sent to, by every kind and every way in, judged by the kernel's own counters."""

from collections.abc import Iterator
from typing import Any

import pytest
from probemesh_shared.words import Kind

from tests.hostile_targets.asks import ASKS
from tests.hostile_targets.prober import NARROWED, WAYS
from tests.hostile_targets.spellings import PLACES
from tests.hostile_targets.world import asked, counted_in, world
from tests.lab.netlab import Host

pytestmark = pytest.mark.netns

#: What a place comes to that may not be probed: denied, or this host itself.
REFUSED = {"denied", "unmeasured"}
#: These ask somebody else for it, or something beside it: that may well succeed.
BESIDE = {"dns lookup", "watch", *(name for name in ASKS if name.endswith("elsewhere"))}


@pytest.fixture(scope="module")
def agent() -> Iterator[Host]:
    with world() as host:
        yield host


def told(agent: Host, way: str) -> dict[str, Any]:
    """By ask; nothing has leaked."""
    found = asked(agent, way)
    assert found
    assert not {name: one["leaks"] for name, one in found.items() if one["leaked"]}
    return found


def test_the_counter_sees_what_leaves(agent: Host) -> None:
    send = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', ('{}', 9))"
    for place in ("169.254.169.254", "127.0.0.1", "10.9.0.1"):
        agent.run("python3", "-c", send.format(place))
        seen = counted_in(agent)
        assert seen.leaked >= 1 and place in seen.leaks


@pytest.mark.parametrize("way", ["literal", "wide policy"])
def test_every_spelling_is_refused_by_every_kind(agent: Host, way: str) -> None:
    for name, one in told(agent, way).items():
        assert one["asked"] >= 60
        if name not in BESIDE:
            assert set(one["outcomes"]) <= REFUSED, name
            assert one["friendly"] == 0, name


def test_a_name_is_judged_by_what_it_comes_to(agent: Host) -> None:
    for way in ("name", "alias"):
        for name, one in told(agent, way).items():
            first_rung = {"ok"} if ASKS[name].kind is Kind.LADDER else set()  # the name itself
            assert set(one["outcomes"]) <= REFUSED | first_rung, (way, name)
            assert one["outcomes"]["denied"] >= 60 * one["asked"] / len(PLACES), (way, name)


def test_of_a_name_s_addresses_the_good_ones_are_probed(agent: Host) -> None:
    for name, one in told(agent, "mixed").items():
        assert one["friendly"] >= 4 * len(PLACES), name  # two questions, an attempt at each address


def test_a_name_is_asked_for_once(agent: Host) -> None:
    """From the second answer on it is a denied place: whoever resolves again before he dials goes there."""
    for name, one in told(agent, "rebinding").items():
        assert one["friendly"] >= 3 * one["asked"], name
        assert not REFUSED & set(one["outcomes"]), name


def test_names_that_the_host_knows_by_itself_are_judged(agent: Host) -> None:
    for name, one in told(agent, "known name").items():
        assert one["outcomes"]["denied"] >= 6, name


def test_redirects_lead_nowhere_that_is_denied(agent: Host) -> None:
    found = told(agent, "redirect")
    for name, one in found.items():
        assert one["friendly"] > one["asked"], name
    for name in ("302 http", "307 https", "rebound", "known"):
        outcomes = found[name]["outcomes"]  # a machine that is busy tells some as void
        assert outcomes.get("denied", 0) >= 5 and "ok" not in outcomes, name


def test_referrals_lead_nowhere_that_is_denied(agent: Host) -> None:
    for name, one in told(agent, "referral").items():
        assert one["outcomes"]["denied"] >= 5 and one["friendly"] > len(PLACES), name


def test_the_same_asks_do_probe_what_is_allowed(agent: Host) -> None:
    for name, one in told(agent, "friend").items():
        assert ASKS[name].kind is Kind.WATCH or one["friendly"] > 0, name
        assert "denied" not in one["outcomes"], name


@pytest.mark.parametrize("way", NARROWED)
def test_what_the_mesh_takes_away_is_probed_by_no_kind(agent: Host, way: str) -> None:
    for name, one in told(agent, way).items():
        if ASKS[name].kind is not Kind.WATCH:
            assert (one["friendly"], set(one["outcomes"])) == (0, {"denied"}), name


def test_every_way_is_tried() -> None:
    tried = {"literal", "wide policy", "name", "alias", "mixed", "rebinding", "known name", "redirect"}
    assert set(WAYS) == tried | {"referral", "friend", *NARROWED}
