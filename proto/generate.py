"""Generate the stubs in ``shared/probemesh/v1`` from ``proto/probemesh/v1``; ``--check`` only compares.
``shared/probemesh/__init__.py`` is written by hand: it prepares the environment for grpc.

The stubs are committed, so that a clone installs without protoc and type checkers see them; the gate runs
``--check``. Needs the development extra (grpcio-tools and mypy-protobuf at their pinned versions).
"""

import argparse
import filecmp
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "proto"
STUBS = ROOT / "shared" / "probemesh" / "v1"


def generate(into: Path) -> None:
    """Write all stubs below ``into``; raises SystemExit where protoc fails."""
    protos = sorted(str(p) for p in SOURCES.rglob("*.proto"))
    plugins = Path(sys.executable).parent
    include = resources.files("grpc_tools") / "_proto"
    code = protoc.main(
        [
            "protoc",
            f"--proto_path={SOURCES}",
            f"--proto_path={include}",
            f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
            f"--python_out={into}",
            f"--grpc_python_out={into}",
            f"--mypy_out=quiet:{into}",
            f"--mypy_grpc_out=quiet:{into}",
            *protos,
        ]
    )
    if code:
        raise SystemExit(f"protoc failed with code {code}")
    package = into / "probemesh" / "v1"
    (package / "__init__.py").write_text("")
    (package.parent / "py.typed").write_text("")
    (package / "py.typed").write_text("")


def stale(fresh: Path) -> list[str]:
    """Names that differ between the fresh stubs and the committed ones, or stand in one place only."""
    names = {p.name for p in fresh.iterdir()} | {
        p.name for p in STUBS.iterdir() if p.suffix in {".py", ".pyi"}
    }
    same = {
        name
        for name in names
        if (fresh / name).exists()
        and (STUBS / name).exists()
        and filecmp.cmp(fresh / name, STUBS / name, shallow=False)
    }
    return sorted(names - same)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="compare with the committed stubs, write nothing"
    )
    if parser.parse_args().check:
        with tempfile.TemporaryDirectory() as scratch:
            generate(Path(scratch))
            if names := stale(Path(scratch) / "probemesh" / "v1"):
                print(f"stale stubs: {', '.join(names)}; run: python proto/generate.py", file=sys.stderr)
                return 1
        return 0
    generate(ROOT / "shared")
    return 0


if __name__ == "__main__":
    sys.exit(main())
