"""The list of ways to name a place is whole: no kind and no text field of a job is missing from it."""

import dataclasses
import typing
from enum import StrEnum
from types import UnionType
from typing import Any

import pytest
from probemesh_agent.kit import all_probes
from probemesh_shared.model import Expectation, Options, Shot, Spec, Target

from tests.hostile_targets.asks import ASKS, PLACE_FIELDS, WORD_FIELDS
from tests.hostile_targets.spellings import DENIED_PLACES, OWN, packed

PARTS: tuple[type, ...] = (*typing.get_args(Spec), Options, Target, Shot, Expectation)


def is_text(hint: Any) -> bool:
    """``str``, or anything that holds one."""
    if isinstance(hint, type) and not typing.get_args(hint):
        return issubclass(hint, str) and not issubclass(hint, StrEnum)
    return any(is_text(part) for part in typing.get_args(hint) if part is not ...)


def text_fields() -> set[tuple[str, str]]:
    found = set()
    for part in PARTS:
        hints = typing.get_type_hints(part)
        found |= {(part.__name__, one.name) for one in dataclasses.fields(part) if is_text(hints[one.name])}
    return found


def nested(part: Any) -> set[type]:
    """The dataclasses that ``part`` can hold."""
    found: set[type] = set()

    def look(hint: Any) -> None:
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            if hint not in found:
                found.add(hint)
                for one in typing.get_type_hints(hint).values():
                    look(one)
        elif isinstance(hint, UnionType) or typing.get_args(hint):
            for inner in typing.get_args(hint):
                look(inner)

    look(part)
    return found


def test_every_text_of_a_job_is_known_as_a_place_or_as_words() -> None:
    assert text_fields() == PLACE_FIELDS | WORD_FIELDS
    assert not PLACE_FIELDS & WORD_FIELDS


def test_no_part_of_a_job_is_overlooked() -> None:
    parts = set().union(*map(nested, (*typing.get_args(Spec), Target)))
    assert {part.__name__ for part in parts} == {part.__name__ for part in PARTS} | {"PortRange"}


def test_every_kind_is_asked() -> None:
    assert {ask.kind for ask in ASKS.values()} == set(all_probes())


def holds(value: Any, name: tuple[str, str], place: str) -> bool:
    """Whether ``place`` stands in field ``name`` of it, or of what it holds."""
    if isinstance(value, tuple):
        return any(holds(one, name, place) for one in value)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return False
    for one in dataclasses.fields(value):
        inner = getattr(value, one.name)
        if (type(value).__name__, one.name) == name and place in str(inner):
            return True
        if holds(inner, name, place):
            return True
    return False


@pytest.mark.parametrize("name", sorted(PLACE_FIELDS))
def test_every_field_that_names_a_place_is_tried(name: tuple[str, str]) -> None:
    assert any(holds(ask.of("192.0.2.77"), name, "192.0.2.77") for ask in ASKS.values())


def test_there_are_enough_spellings() -> None:
    assert len(DENIED_PLACES) >= 60 and len(OWN) >= 10
    assert {len(packed(one)) for one in OWN} == {4, 16}
