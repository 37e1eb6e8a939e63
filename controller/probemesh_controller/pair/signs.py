"""Observations and signs: what the accounts of both ends say, before anybody asks why. Pure.

An *observation* is one thing that was seen, numbered, in words for people. A *sign* is a question about one
direction that the observations answer: True, False, or None where nobody looked or what was seen does not
suffice. Readers make signs of a :class:`~probemesh_controller.pair.view.View`.

A reader must be able to say no: ``False`` is a statement (it was looked for, long and often enough, and is
not so), never the lack of one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from probemesh_shared.model import Place

from probemesh_controller.pair.view import View


@dataclass(frozen=True, slots=True)
class Observation:
    """``id`` is ``o1``, ``o2`` …; the same thing seen through two readers is one observation."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Sign:
    """``seen`` are the ids of the observations that say so. ``place`` and ``values`` (words, numbers as
    text) are for those causes that name a place or a number."""

    name: str
    holds: bool | None = None
    seen: tuple[str, ...] = ()
    place: Place | None = None
    values: Mapping[str, str] = field(default_factory=dict)


class Notes:
    """Collects observations and numbers them in the order in which they are first noted."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def note(self, text: str) -> str:
        return self._ids.setdefault(text, f"o{len(self._ids) + 1}")

    def text(self, identifier: str) -> str:
        return next(text for text, known in self._ids.items() if known == identifier)

    def all(self) -> tuple[Observation, ...]:
        return tuple(Observation(identifier, text) for text, identifier in self._ids.items())


Read = Callable[[View, Notes], Iterable[Sign]]


@dataclass(frozen=True, slots=True)
class Reader:
    """``tells`` are the names of all signs that ``read`` may give; a test holds it to that."""

    tells: frozenset[str]
    read: Read


class Signs:
    """All signs of one view, by name. What no reader told is a sign with ``holds`` None."""

    def __init__(self, signs: Iterable[Sign] = ()) -> None:
        self._signs: dict[str, Sign] = {}
        for sign in signs:
            known = self._signs.get(sign.name)
            self._signs[sign.name] = sign if known is None else _joined(known, sign)

    def __getitem__(self, name: str) -> Sign:
        return self._signs.get(name) or Sign(name)

    def __iter__(self) -> Iterator[Sign]:
        return iter(self._signs.values())

    def holds(self, name: str) -> bool | None:
        return self[name].holds


def _joined(one: Sign, other: Sign) -> Sign:
    """Two readers of the same sign: who knows wins over who does not; where they contradict each other,
    nobody knows."""
    if one.holds is None or other.holds is None or one.holds == other.holds:
        first, second = (other, one) if one.holds is None else (one, other)
        seen = first.seen if second.holds is None else tuple(dict.fromkeys((*first.seen, *second.seen)))
        return Sign(
            one.name, first.holds, seen, first.place or second.place, {**second.values, **first.values}
        )
    return Sign(one.name, None, tuple(dict.fromkeys((*one.seen, *other.seen))))


def read_signs(view: View, readers: Iterable[Reader], notes: Notes) -> Signs:
    return Signs(sign for reader in readers for sign in reader.read(view, notes))
