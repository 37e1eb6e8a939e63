"""How long a person waits for ``meshctl --help``, beside a bare ``import typer`` in the same run.

Budgets: at most 150 ms, and at most 1.3 times the import. Minimum of the runs, in turn A B A B, each a fresh
process.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

RUNS = 15
BIN = Path(sys.executable).parent


def elapsed_ms(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return (time.perf_counter() - start) * 1000


def main() -> None:
    ours, typer = [str(BIN / "meshctl"), "--help"], [sys.executable, "-c", "import typer"]
    pairs = [(elapsed_ms(ours), elapsed_ms(typer)) for _ in range(RUNS + 1)][1:]
    help_ms, import_ms = min(a for a, _ in pairs), min(b for _, b in pairs)
    rows = [
        {"what": "meshctl --help", "ours": help_ms, "unit": "ms", "budget": 150.0, "at_most": True},
        {
            "what": "meshctl --help / import typer",
            "ours": help_ms / import_ms,
            "unit": "×",
            "budget": 1.3,
            "at_most": True,
            "peer": f"import typer {import_ms:.0f} ms",
        },
    ]
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
