"""Every function that takes bytes from elsewhere apart is reached by a fuzz target's inputs, or stands in a
list with the reason why it need not be."""

import sys
from types import FrameType
from typing import Any

import pytest

from tests.fuzz import parsers, registry


@pytest.fixture(scope="module")
def reached() -> set[str]:
    """The readers that some input of some target calls."""
    called: set[tuple[str, int]] = set()

    def saw(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            called.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))

    targets = [registry.load(name) for name in registry.names()]
    before = sys.getprofile()
    sys.setprofile(saw)
    try:
        for target in targets:
            for _, data in target.inputs():
                target.read(data)
    finally:
        sys.setprofile(before)
    return {reader for reader, (path, line) in parsers.readers().items() if (str(path), line) in called}


def test_every_reader_is_reached(reached: set[str]) -> None:
    missing = sorted(one for one in parsers.readers() if one not in reached and not parsers.is_away(one))
    assert not missing, f"no fuzz target reaches {missing}: see tests/fuzz/parsers.py"


def test_nothing_is_excused_that_is_reached_or_not_there(reached: set[str]) -> None:
    readers = parsers.readers()
    modules = {reader.partition(":")[0] for reader in readers}
    assert [one for one in parsers.AWAY if one not in readers and one not in modules] == []
    assert [one for one in parsers.AWAY if one in reached] == []


def test_a_parser_is_found_by_what_it_does() -> None:
    """A scan that finds nothing would excuse everything."""
    readers = parsers.readers()
    known = ("probes.dnsraw:_record", "wire.ber:integer", "responder.frames:_mss", "path.quotes:tcp_quote")
    assert {f"probemesh_agent.{one}" for one in known} <= readers.keys()
    assert "probemesh_shared.wire.flowtoken:read_reply" in readers
    assert "probemesh_controller.pki.ca:check_csr" in readers
