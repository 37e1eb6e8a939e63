"""The programs of this tree, startable by a user who owns nothing (uid 65534).

An interpreter, or a tree, below a closed home directory cannot be read by that user. Then another
interpreter of the same version does, and a copy of what it has to import, in a folder that everybody can
read and that is gone at the end.
"""

import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
NOBODY = 65534
#: Gives up everything: identity, groups, capabilities, and every way to them.
DROP = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"),
    *("--inh-caps=-all", "--bounding-set=-all"),
)
#: The same but for CAP_NET_RAW.
KEEP_RAW = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"),
    *("--inh-caps=-all,+net_raw", "--ambient-caps=-all,+net_raw", "--bounding-set=-all,+net_raw"),
)
SOURCES = ("agent", "shared")
SITE = Path(sysconfig.get_paths()["platlib"])


@dataclass(frozen=True)
class AgentProgram:
    """``command`` starts ``mesh-agent`` (its words follow) in ``environment``."""

    command: tuple[str, ...]
    environment: Mapping[str, str]


def _works(interpreter: str, path: str) -> bool:
    command = (*DROP, "env", "-i", f"PYTHONPATH={path}", "PYTHONDONTWRITEBYTECODE=1")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    script = f"import sys, grpc, probemesh_agent.main; assert sys.version.startswith('{version}.')"
    done = subprocess.run(
        (*command, interpreter, "-c", script), capture_output=True, cwd="/", check=False, timeout=60
    )
    return done.returncode == 0


@contextmanager
def for_nobody() -> Iterator[AgentProgram | None]:
    """None where no interpreter can be had."""
    with tempfile.TemporaryDirectory(prefix="probemesh-lab-") as folder:
        Path(folder).chmod(0o755)
        direct = ":".join([*(str(TREE / name) for name in SOURCES), str(SITE)])
        for copying in (False, True):
            path = _copied(Path(folder)) if copying else direct
            for interpreter in dict.fromkeys((sys.executable, "/usr/bin/python3", "/usr/local/bin/python3")):
                if Path(interpreter).exists() and _works(interpreter, path):
                    environment = {
                        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                        "PYTHONPATH": path,
                        "PYTHONDONTWRITEBYTECODE": "1",
                        "PYTHONUNBUFFERED": "1",
                        "HOME": "/nonexistent",
                    }
                    yield AgentProgram((interpreter, "-m", "probemesh_agent"), environment)
                    return
        yield None


def _copied(folder: Path) -> str:
    """Everything below ``folder``; what is written as bytecode by the tree's own user goes along."""
    for name in SOURCES:
        shutil.copytree(TREE / name, folder / name)
    shutil.copytree(SITE, folder / "site", ignore=shutil.ignore_patterns("mypy*", "ruff*", "grpc_tools*"))
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return ":".join(str(folder / name) for name in (*SOURCES, "site"))
