"""One fuzz target, hunted through for some seconds in a process of its own, and what came of it."""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import registry

#: Of one input's wall time, and of resident memory, until libFuzzer itself calls it a fault.
_HANG_S, _MEMORY_MB = 60, 768
_STATISTIC = re.compile(r"^stat::(\w+):\s+(\d+)$", re.MULTILINE)
_COVERED = re.compile(r"^#\d+\s+\w+\s+cov: (\d+) ft: (\d+)", re.MULTILINE)
_TAIL_LINES = 25


@dataclass(frozen=True, slots=True)
class Hunt:
    """``found``: the inputs that broke the reader; ``words``: the end of what was said, where one did or the
    hunt itself failed. ``seconds`` is wall time, ``covered`` counts edges."""

    name: str
    runs: int
    seconds: float
    covered: int
    found: tuple[bytes, ...] = ()
    words: str = ""


def is_available() -> str | None:
    """Why not, if it is not."""
    try:
        import atheris  # noqa: F401
    except ImportError:
        return "wants atheris, for which there are wheels for Linux on x86-64 with Python 3.11 to 3.13"
    return None


def hunt(name: str, seconds: int, work: Path | None = None, module: str | None = None) -> Hunt:
    """``work`` keeps what was found interesting for the next hunt. Faults are data; a hunt that could not be
    done has words and no runs."""
    with tempfile.TemporaryDirectory(prefix="probemesh-fuzz-") as folder:
        place = Path(folder)
        interesting = work if work is not None else place / "work"
        interesting.mkdir(parents=True, exist_ok=True)
        return _hunt(name, module or registry.module_of(name), seconds, place, interesting)


def _hunt(name: str, module: str, seconds: int, place: Path, interesting: Path) -> Hunt:
    broken = place / "broken"
    broken.mkdir()
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={registry.LONGEST}",
        f"-timeout={_HANG_S}",
        f"-rss_limit_mb={_MEMORY_MB}",
        f"-artifact_prefix={broken}/",
        "-print_final_stats=1",
        "-reduce_inputs=0",
    ]
    began = time.monotonic()
    done = run_child(module, [*options, str(interesting), str(_seeds(name, module, place))])
    took = time.monotonic() - began
    said = done.stderr + done.stdout
    numbers = {key: int(value) for key, value in _STATISTIC.findall(said)}
    found = tuple(path.read_bytes() for path in sorted(broken.iterdir()) if not path.name.startswith("slow"))
    covered = [int(edges) for edges, _ in _COVERED.findall(said)]
    failed = done.returncode != 0 or "number_of_executed_units" not in numbers
    words = "\n".join(_told(said)) if failed or found else ""
    runs = numbers.get("number_of_executed_units", 0)
    return Hunt(name, runs, took, max(covered, default=0), found, words)


def run_child(module: str, arguments: list[str]) -> "subprocess.CompletedProcess[str]":
    """The child of this folder, with ``arguments`` for libFuzzer."""
    command = [sys.executable, "-m", "tests.fuzz.child", module, *arguments]
    return subprocess.run(command, cwd=registry.HERE.parents[1], capture_output=True, text=True, check=False)


def _seeds(name: str, module: str, place: Path) -> Path:
    """Seeds and the corpus in one folder."""
    folder = place / "seeds"
    folder.mkdir()
    for number, seed in enumerate(registry.load_module(module).seeds):
        (folder / f"seed-{number}").write_bytes(seed)
    for path in registry.kept(name):
        shutil.copy(path, folder)
    return folder


def _told(said: str) -> list[str]:
    """From where Python spoke, else the end."""
    lines = [line for line in said.splitlines() if not line.startswith(("#", "stat::", "INFO:"))]
    first = next((at for at, line in enumerate(lines) if "Uncaught Python exception" in line), None)
    return lines[-_TAIL_LINES:] if first is None else lines[first : first + _TAIL_LINES]


def keep(name: str, work: Path) -> int:
    """The smallest set of inputs in ``work`` and the corpus that covers all they cover takes the corpus's
    place, as far as it stays small; how many there are now."""
    kept = registry.CORPUS / name
    with tempfile.TemporaryDirectory(prefix="probemesh-fuzz-") as folder:
        place = Path(folder)
        merged = place / "merged"
        merged.mkdir()
        sources = [str(merged), str(_seeds(name, registry.module_of(name), place)), str(work)]
        run_child(registry.module_of(name), ["-merge=1", f"-max_len={registry.LONGEST}", *sources])
        found = {path.read_bytes() for path in merged.iterdir()} - set(registry.load(name).seeds)
        broke = (path for path in registry.kept(name) if path.name.startswith("broke-"))
        named = {path.name: path.read_bytes() for path in broke}
        if found:
            _replace(kept, sorted(found - set(named.values()), key=len), named)
    return len(registry.kept(name))


def _replace(kept: Path, found: list[bytes], named: dict[str, bytes]) -> None:
    """Small ones first; those that once broke a reader stay whatever comes."""
    from hashlib import sha256

    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    left = registry.KEPT_MOST
    for name, data in (*named.items(), *((sha256(one).hexdigest()[:12], one) for one in found)):
        if len(data) <= left:
            (kept / name).write_bytes(data)
            left -= len(data)
