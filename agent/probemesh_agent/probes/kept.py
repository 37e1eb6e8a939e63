"""Whose detail a row tells, where its attempts came to different ends. Pure."""

from typing import Generic, TypeVar

_Detail = TypeVar("_Detail")


class Kept(Generic[_Detail]):
    """The first detail of the highest rank; ``detail`` until one is offered. A rank begins with whether the
    attempt held: a row that held must not be judged by an attempt that failed."""

    def __init__(self, detail: _Detail) -> None:
        self.detail = detail
        self._rank: tuple[bool, ...] | None = None

    def offer(self, detail: _Detail, *rank: bool) -> None:
        """Ranks of one row are of one length: what matters most comes first."""
        if self._rank is None or rank > self._rank:
            self.detail, self._rank = detail, rank
