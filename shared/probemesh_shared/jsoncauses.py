"""The shape of causes in JSON: a part of what ``meshctl check -o json`` prints."""

from typing import Annotated, TypedDict


class TermJson(TypedDict):
    """What ends or probes are meant: agent, site, network, label, port, transport or family."""

    kind: str
    value: str


class ExclusionJson(TypedDict):
    """What a cause leaves out. ``side``: source, target, probe, or either end."""

    side: str
    kind: str
    value: str


class CauseJson(TypedDict):
    """One cause: a conjunction, in which null and an empty list stand for anything."""

    summary: Annotated[str, "one sentence, with counts"]
    source: TermJson | None
    target: TermJson | None
    direction: Annotated[str, "one-way, or both-ways: between source and target, or to and from source"]
    probe: list[TermJson]
    but: list[ExclusionJson]
    failing: Annotated[int, "cells that it explains"]
    known: Annotated[int, "cells in it that were measured"]
    unknown: Annotated[int, "cells in it that were not"]
    words: Annotated[list[str], "how they fail, the most frequent first"]


class CausesJson(TypedDict):
    """The fewest causes that explain every failing cell and no healthy one."""

    causes: list[CauseJson]
    failing: int
    healthy: int
    unknown: int
    exact: Annotated[bool, "no smaller set exists among all that were considered"]
