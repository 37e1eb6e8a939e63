"""On which line of a TOML text each key and each item of a list stands: :mod:`tomllib` says it of syntax
errors only. Pure.

The text is one that tomllib has accepted: nothing is validated again, and what is beyond this scanner is
merely without a line of its own.
"""

import tomllib
from collections.abc import Mapping

Path = tuple[str | int, ...]
_BLANK = " \t\r"
_BARE_END = ",]}#\n"


class Lines:
    """``of(path)`` is the line, from 1, of what stands there, else of the nearest thing around it."""

    def __init__(self, text: str) -> None:
        try:
            self._found: Mapping[Path, int] = _Scanner(text).scan()
        except (IndexError, RecursionError):
            self._found = {}

    def of(self, path: Path) -> int | None:
        for end in range(len(path), 0, -1):
            if (line := self._found.get(path[:end])) is not None:
                return line
        return None


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text + "\n"
        self._at = 0
        self._line = 1
        self._found: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}
        self._table: Path = ()

    def scan(self) -> dict[Path, int]:
        while self._skip():
            if self._peek("["):
                self._header()
            else:
                self._pair(self._table)
        return self._found

    # --- characters ---

    def _peek(self, what: str) -> bool:
        return self._text.startswith(what, self._at)

    def _step(self, count: int = 1) -> None:
        self._line += self._text.count("\n", self._at, self._at + count)
        self._at += count

    def _skip(self) -> bool:
        """Over blanks, comments and commas; whether anything is left."""
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == "#":
                self._at = self._text.index("\n", self._at)
            elif char in _BLANK or char in ",\n":
                self._step()
            else:
                return True
        return False

    def _blanks(self) -> None:
        while self._text[self._at] in _BLANK:
            self._at += 1

    # --- tables and keys ---

    def _header(self) -> None:
        line, several = self._line, self._peek("[[")
        self._step(2 if several else 1)
        *before, last = self._dotted()
        path = self._real(tuple(before))
        if several:
            count = self._counts.get((*path, last), 0)
            self._counts[*path, last] = count + 1
            self._found.setdefault((*path, last), line)
            path = (*path, last, count)
        else:
            path = (*path, last)
        self._table = path
        for end in range(1, len(path) + 1):  # the tables around it may have no header of their own
            self._found.setdefault(path[:end], line)
        self._at = self._text.index("]", self._at)
        self._step(2 if several else 1)

    def _real(self, names: tuple[str, ...]) -> Path:
        """With the number of the last entry behind the name of each list of tables."""
        path: Path = ()
        for name in names:
            path = (*path, name)
            if (count := self._counts.get(path)) is not None:
                path = (*path, count - 1)
        return path

    def _dotted(self) -> list[str]:
        parts = []
        while True:
            self._blanks()
            parts.append(self._key())
            self._blanks()
            if not self._peek("."):
                return parts
            self._step()

    def _key(self) -> str:
        if self._text[self._at] in "\"'":
            return self._string()
        start = self._at
        while self._text[self._at] not in ' \t\r\n.=]"':
            self._at += 1
        return self._text[start : self._at]

    def _pair(self, table: Path) -> None:
        line = self._line
        parts = self._dotted()
        path = table
        for part in parts:
            path = (*path, part)
            self._found.setdefault(path, line)
        self._at = self._text.index("=", self._at) + 1
        self._blanks()
        self._value(path)

    # --- values ---

    def _value(self, path: Path) -> None:
        char = self._text[self._at]
        if char in "\"'":
            self._string()
        elif char == "[":
            self._list(path)
        elif char == "{":
            self._inline(path)
        else:
            while self._text[self._at] not in _BARE_END:
                self._at += 1

    def _list(self, path: Path) -> None:
        self._step()
        number = 0
        while self._skip() and not self._peek("]"):
            self._found[*path, number] = self._line
            self._value((*path, number))
            number += 1
        self._step()

    def _inline(self, path: Path) -> None:
        self._step()
        while self._skip() and not self._peek("}"):
            self._pair(path)
        self._step()

    def _string(self) -> str:
        quote = self._text[self._at]
        if self._peek(quote * 3):
            return self._long_string(quote)
        start = self._at
        self._at += 1
        while (char := self._text[self._at]) != quote:
            self._at += 2 if char == "\\" and quote == '"' else 1
        self._at += 1
        text = self._text[start : self._at]
        return str(tomllib.loads(f"a={text}")["a"]) if "\\" in text else text[1:-1]

    def _long_string(self, quote: str) -> str:
        start = self._at + 3
        at = start
        while not self._text.startswith(quote * 3, at):
            at += 2 if self._text[at] == "\\" and quote == '"' else 1
        while self._text.startswith(quote * 3, at + 1):  # up to two quotes may stand before the end
            at += 1
        value = self._text[start:at]
        self._step(at + 3 - self._at)
        return value
