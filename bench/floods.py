"""What honest peers feel while others flood the controller: the p99 of an operator's requests under each
flood, beside that of the same requests when it is quiet.

Quiet and flood take turns, and the ratio is the median of the rounds', so that a busy machine hurts both
alike. Requests are lists of agents and runs at one agent, from the request to its measurement. The flood has
the lowest priority: it comes from elsewhere, and what it costs there is not what is measured. Every round's
villain is another one, from another address, or it would be in disgrace already. ``--json`` prints rows for
``bench/run.py``.
"""

import asyncio
import json
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.chaos.live import LiveMesh
from tests.chaos.origin import Origin
from tests.hostile.floods import KINDS
from tests.hostile.health import Felt, Honest, flood, honest, villain

ROUNDS, SECONDS = 3, 4.0


def _elsewhere(kind: str, number: int) -> str:
    return f"127.66.{1 + list(KINDS).index(kind)}.{1 + number}"


async def compared(kind: str, peers: Honest, mesh: LiveMesh) -> dict[str, object]:
    quiet, flooded, ratios, sent, dialled = Felt(), Felt(), list[float](), 0, 0
    for number in range(ROUNDS):
        before = await peers.feel(SECONDS)
        who = villain(mesh.state, mesh.folder / f"{kind}-{number}")
        with flood(kind, mesh.address, who, _elsewhere(kind, number)) as done:
            during = await peers.feel(SECONDS)
        ratios.append(during.p99_s / before.p99_s)
        quiet.add(before)
        flooded.add(during)
        sent, dialled = sent + done.sent, dialled + done.dialled
    peer = f"{quiet.p99_s * 1000:.1f} → {flooded.p99_s * 1000:.1f} ms; {dialled:,} dialled, {sent:,} bytes"
    return {
        "what": f"honest peers' p99 under {kind}, beside quiet",
        "ours": round(statistics.median(ratios), 2),
        "unit": "×",
        "budget": 2.0,
        "at_most": True,
        "peer": peer,
    }


async def measure(mesh: LiveMesh) -> list[dict[str, object]]:
    async with honest(mesh.state, mesh.address) as peers:
        await peers.feel(1.0)
        return [await compared(kind, peers, mesh) for kind in KINDS]


def main() -> int:
    origin = Origin()
    with tempfile.TemporaryDirectory() as folder:
        mesh = LiveMesh(Path(folder), origin, names=())
        try:
            mesh.raise_it()
            rows = asyncio.run(measure(mesh))
        finally:
            mesh.close()
            origin.close()
    if "--json" in sys.argv:
        print(json.dumps(rows))
    else:
        for row in rows:
            print(f"{row['what']!s:<52} {row['ours']:>7} × ≤ {row['budget']}  {row['peer']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
