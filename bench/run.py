"""``make bench``: run every bench in this folder, print its figures beside budget and peer, fail where one
is missed.

Each bench is a program that prints one JSON list of rows: ``what``, ``ours``, ``unit``, and where they apply
``budget``, ``at_most`` (the budget is an upper bound) and ``peer`` (a phrase). A peer that is not installed
makes a row without a budget that says so. One bench after the other: they must not measure each other.
"""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BENCHES = ("startup", "rates", "agent", "controller", "storing", "floods")


def run(name: str) -> list[dict[str, object]]:
    print(f"bench: {name} ...", file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, str(HERE / f"{name}.py"), "--json"], stdout=subprocess.PIPE, text=True, timeout=300
    )
    if done.returncode != 0:
        return [
            {"what": f"{name} did not run (exit {done.returncode})", "ours": None, "unit": "", "budget": 0.0}
        ]
    rows: list[dict[str, object]] = json.loads(done.stdout)
    return rows


def kept(row: dict[str, object]) -> bool | None:
    budget, ours = row.get("budget"), row["ours"]
    if budget is None:
        return None
    if not isinstance(ours, int | float) or not isinstance(budget, int | float):
        return False
    return ours <= budget if row.get("at_most") else ours >= budget


def line(row: dict[str, object]) -> str:
    ours, budget = row["ours"], row.get("budget")
    value = (
        "—" if ours is None else f"{ours:,.2f}" if isinstance(ours, float) and ours < 100 else f"{ours:,.0f}"
    )
    bound = "" if budget is None else f"{'≤' if row.get('at_most') else '≥'} {budget:g}"
    mark = {True: "✓", False: "✕ MISSED", None: ""}[kept(row)]
    return f"{row['what']!s:<52} {value:>12} {row['unit']!s:<6} {bound:<10} {mark:<9} {row.get('peer', '')}"


def main() -> int:
    wanted = [name for name in sys.argv[1:] if not name.startswith("-")] or list(BENCHES)
    rows = [row for name in wanted for row in run(name)]
    print("\n".join(line(row) for row in rows))
    return 1 if any(kept(row) is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
