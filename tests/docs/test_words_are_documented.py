"""Every word that people can meet in the output has its line in the reference."""

from pathlib import Path

import pytest
from probemesh_shared.portstate import REASONS
from probemesh_shared.words import (
    Aspect,
    DnsAgreement,
    DnssecStatus,
    DnsSource,
    DnsTransport,
    FailureKind,
    Origin,
    Outcome,
    SlotState,
    Stage,
    Timing,
)

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "measurements.md").read_text()


@pytest.mark.parametrize("word", [*Outcome, *FailureKind, *SlotState])
def test_has_a_row(word: str) -> None:
    assert f"| `{word}` |" in PAGE


@pytest.mark.parametrize("word", [*Stage, *Origin, *Timing, *Aspect])
def test_is_named(word: str) -> None:
    assert f"`{word}`" in PAGE


@pytest.mark.parametrize("word", [*DnsTransport, *DnssecStatus, *DnsSource, *DnsAgreement])
def test_words_of_dns_are_named(word: str) -> None:
    assert f"`{word}`" in PAGE


@pytest.mark.parametrize("word", REASONS)
def test_a_reason_of_a_state_is_named(word: str) -> None:
    assert f"`{word}`" in PAGE
