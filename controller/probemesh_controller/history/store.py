"""A folder of saved runs, a file a run: ``00000042-7f3a2c1b.jsonl.gz``, header first, then a line a TARGET.

A file is written aside and renamed, so that nobody reads half of one and two ``meshctl`` at once take nothing
from each other. The number orders them; clocks do not. Bounded in count and bytes: the oldest go first. What
cannot be read is passed over, and never deleted.
"""

import contextlib
import gzip
import json
import os
import re
import stat
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from probemesh_shared.errors import InvalidRequest, NotFound, StateError
from probemesh_shared.escape import escape
from probemesh_shared.model import TargetResult

from probemesh_controller.history.codec import BadRecord, decode, encode
from probemesh_controller.history.record import Header

LAST = "@last"
MOST_RUNS = 500
MOST_BYTES = 64 << 20
#: Of one run: its file, its rows, and the text of it. Beyond, only the header is kept.
MOST_RUN_BYTES, MOST_ROWS, _MOST_TEXT = 16 << 20, 100_000, 256 << 20
_MOST_HEADER = 1 << 20
#: A file written aside that is older than this belongs to nobody any more, in seconds.
_STALE_S = 3600
_NAME = re.compile(r"(\d{8})-([0-9a-f]{8})\.jsonl\.gz\Z")
_ASIDE = re.compile(r"\.\d{8}-[0-9a-f]{8}\.\d+\.new\Z")


@dataclass(frozen=True, slots=True)
class Listing:
    """Newest first, and the names of what could not be read."""

    runs: tuple[Header, ...]
    passed_over: tuple[str, ...]


class History:
    """``folder`` need not exist; ``save`` makes it."""

    def __init__(self, folder: Path, *, most_runs: int = MOST_RUNS, most_bytes: int = MOST_BYTES) -> None:
        self.folder = folder
        self._most_runs, self._most_bytes = most_runs, most_bytes

    def save(self, header: Header, results: Sequence[TargetResult]) -> Header:
        """Keeps a run, and drops the oldest beyond the bounds; returns the header as it was written.

        Raises :class:`StateError` where the folder cannot be written.
        """
        data = _packed(header, results)
        if data is None:
            header = replace(header, whole=False)
            data = _packed(header, ()) or b""
        try:
            self._write(header, data)
            self._prune()
        except OSError as error:
            raise StateError(f"{self.folder} cannot be written: {error.strerror or error}") from None
        return header

    def listing(self, most: int | None = None) -> Listing:
        """Headers of the newest ``most`` runs, or of all. Raises :class:`StateError`."""
        runs: list[Header] = []
        passed_over = [name for name in self._names() if not _NAME.match(name) and not _ASIDE.match(name)]
        for name in self._ours():
            if most is not None and len(runs) >= most:
                break
            found = self._header(name)
            if found is None:
                passed_over.append(name)
            else:
                runs.append(found)
        return Listing(tuple(runs), tuple(passed_over))

    def ids(self) -> list[str]:
        """Newest first, without opening a file; for completion."""
        return [name[9:17] for name in self._ours()]

    def last(self) -> Header:
        """The newest run that can be read. Raises :class:`NotFound`."""
        runs = self.listing(1).runs
        if not runs:
            raise NotFound("there is no saved run in this context yet", "meshctl probe TARGET makes one")
        return runs[0]

    def load(self, wanted: str = LAST) -> tuple[Header, tuple[TargetResult, ...]]:
        """One run by its id, by the beginning of it, or the last one.

        Raises :class:`NotFound`, and :class:`StateError` for a file that cannot be read.
        """
        found = self.last().id if wanted == LAST else self._named(wanted)
        name = next((one for one in self._ours() if one[9:17] == found), None)
        if name is None:  # another meshctl has just dropped it
            raise NotFound(f"the run {found} is not kept any more", "meshctl history lists what is")
        header, results = self._read(name)
        if not header.whole:
            raise NotFound(
                f"of the run {found} only the summary was kept: its measurements were too many",
                "meshctl history lists it; probe fewer ports or targets at once, or keep -o json yourself",
            )
        return header, results

    def _named(self, wanted: str) -> str:
        shown = escape(wanted, 40)
        mine = [one for one in dict.fromkeys(self.ids()) if one.startswith(wanted.lower())] if wanted else []
        if len(mine) == 1:
            return mine[0]
        if mine:
            listed = ", ".join(mine[:6]) + (", …" if len(mine) > 6 else "")
            raise InvalidRequest(f"'{shown}' could be {len(mine)} runs", f"give more of the id: {listed}")
        raise NotFound(f"there is no saved run '{shown}'", "meshctl history lists them")

    # --- files

    def _names(self) -> list[str]:
        try:
            return sorted((entry.name for entry in os.scandir(self.folder)), reverse=True)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StateError(f"{self.folder} cannot be read: {error.strerror or error}") from None

    def _ours(self) -> list[str]:
        """Newest first."""
        return [name for name in self._names() if _NAME.match(name)]

    def _write(self, header: Header, data: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        newest = next(iter(self._ours()), None)
        number = min(int(newest[:8]) + 1 if newest else 1, 99_999_999)
        path = self.folder / f"{number:08d}-{header.id}.jsonl.gz"
        aside = self.folder / f".{number:08d}-{header.id}.{os.getpid()}.new"
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            aside.rename(path)
        except OSError:
            aside.unlink(missing_ok=True)
            raise

    def _prune(self) -> None:
        """Oldest first, until the rest is within the bounds. What is not readable counts for nothing."""
        sizes = {name: self._size(name) for name in self._ours()}
        count, total = len(sizes), sum(sizes.values())
        for name in reversed(list(sizes)[1:]):  # the one just saved stays
            if count <= self._most_runs and total <= self._most_bytes:
                break
            count, total = count - 1, total - sizes[name]
            if self._header(name) is not None:
                (self.folder / name).unlink(missing_ok=True)
        for name in self._names():
            if _ASIDE.match(name):
                self._drop_stale(self.folder / name)

    def _drop_stale(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            newest = max((entry.stat().st_mtime for entry in os.scandir(self.folder)), default=0.0)
            if newest - path.stat().st_mtime > _STALE_S:
                path.unlink()

    def _size(self, name: str) -> int:
        try:
            return (self.folder / name).stat().st_size
        except OSError:
            return 0

    def _header(self, name: str) -> Header | None:
        try:
            with _opened(self.folder / name) as file:
                return _header_of(file.readline(_MOST_HEADER), name)
        except (OSError, EOFError, ValueError, zlib.error):
            return None

    def _read(self, name: str) -> tuple[Header, tuple[TargetResult, ...]]:
        path = self.folder / name
        try:
            with _opened(path) as file:
                data = file.read(_MOST_TEXT)
            first, *rest = data.splitlines()
            header = _header_of(first, name)
            results = tuple(decode(TargetResult, _parsed(line)) for line in rest)
            if header.whole and len(results) != len(header.targets):
                raise BadRecord("it ends too early")
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise StateError(
                f"the saved run {path} cannot be read: {escape(str(error), 200)}",
                "it is damaged, or of another version of meshctl; the others are not affected",
            ) from None
        return header, results


def _packed(header: Header, results: Sequence[TargetResult]) -> bytes | None:
    """None for what is too much to be kept."""
    if sum(len(vantage.measurements) for result in results for vantage in result.vantages) > MOST_ROWS:
        return None
    text = "".join(json.dumps(encode(value), allow_nan=False) + "\n" for value in (header, *results))
    data = gzip.compress(text.encode("ascii"), 1, mtime=0) if len(text) < _MOST_TEXT else b""
    return data if 0 < len(data) <= MOST_RUN_BYTES else None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[gzip.GzipFile]:
    """A plain file only: a pipe of that name would be waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as raw:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is no plain file")
        with gzip.GzipFile(fileobj=raw) as file:
            yield file


def _header_of(line: bytes, name: str) -> Header:
    header = decode(Header, _parsed(line))
    if header.format != 1:
        raise BadRecord(f"it is of format {header.format}, and format 1 is known here")
    if header.id != name[9:17]:
        raise BadRecord("its name is not its own")
    return header


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line, parse_constant=_no_constant)
    except RecursionError:
        raise BadRecord("it is nested too deeply") from None


def _no_constant(_word: str) -> Any:
    raise BadRecord("it holds what is no number")
