"""The fuzz targets: every module in ``tests/fuzz/targets`` is one, and bears its name.

A target has ``read(data)``, which raises for nothing but what a reader must not do, and ``SEEDS``, inputs
that its readers understand. What fuzzing found worth keeping lies in ``tests/fuzz/corpus/NAME``.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
#: Bytes of one input, and of all kept ones of a target.
LONGEST, KEPT_MOST = 8192, 32 * 1024


class Target(NamedTuple):
    name: str
    read: Callable[[bytes], None]
    seeds: Sequence[bytes]

    def inputs(self) -> Iterator[tuple[str, bytes]]:
        """Seeds, and what was kept, each with a name."""
        for number, seed in enumerate(self.seeds):
            yield f"seed {number}", seed
        for path in kept(self.name):
            yield path.name, path.read_bytes()


def names() -> list[str]:
    return sorted(path.stem for path in (HERE / "targets").glob("*.py"))


def module_of(name: str) -> str:
    return f"tests.fuzz.targets.{name}"


def load(name: str) -> Target:
    return load_module(module_of(name))


def load_module(module: str) -> Target:
    loaded = importlib.import_module(module)
    return Target(module.rpartition(".")[2], loaded.read, loaded.SEEDS)


def kept(name: str) -> list[Path]:
    return sorted(path for path in (CORPUS / name).glob("*") if path.is_file())
