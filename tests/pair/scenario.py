"""Recorded diagnoses as test data: what was seen in a lab, and what has to be concluded from it.

A file holds ``about``, the ``case`` as ``meshctl diagnose --save`` writes it, thinned to what the engine
reads, and for ``forward`` and ``reverse`` what has to come out. To keep a new one::

    python -m tests.pair.scenario [--flow] CASE.json NAME "what is the matter there"

which writes ``scenarios/NAME.json`` with what is concluded today: look at it before it is committed. With
``--flow`` it holds only what the flow itself is judged by, and not the tour beside it.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from probemesh_controller.history.codec import decode
from probemesh_controller.pair.case import Case
from probemesh_controller.pair.conclude import conclude
from probemesh_shared.model import Diagnosis

FOLDER = Path(__file__).with_name("scenarios")
_SOURCES = Path(conclude.__code__.co_filename).parent
#: What the tour asks beside the flow; not whom it asks about the flow itself.
_SIDE = re.compile(r"tour-(?!outside|who)")
_COUNTER = re.compile(r'"(?:[A-Z][A-Za-z0-9]+\.)?([A-Z][A-Za-z]+)"')


def names() -> list[str]:
    return sorted(file.stem for file in FOLDER.glob("*.json"))


def load(name: str) -> tuple[Case, dict[str, Any]]:
    """The case and what is expected of it."""
    data = json.loads((FOLDER / f"{name}.json").read_text())
    return decode(Case, data["case"]), data


def outcome(diagnosis: Diagnosis) -> dict[str, Any]:
    """What is compared: the verdicts of both directions, and every finding with its place."""
    told: dict[str, Any] = {}
    for name in ("forward", "reverse"):
        one = getattr(diagnosis, name)
        told[name] = {
            "verdict": one.verdict,
            "confidence": one.confidence,
            "path_verdict": one.path_verdict,
            "service_verdict": one.service_verdict,
            "alternatives": list(one.alternatives),
        }
    told["findings"] = [
        [
            finding.direction,
            finding.verdict,
            finding.confidence,
            *([finding.place.kind, finding.place.address, finding.place.hop] if finding.place else []),
        ]
        for finding in diagnosis.findings
    ]
    return told


def thinned(case: dict[str, Any], flow: bool = False) -> dict[str, Any]:
    """Without what no sign is read from: capabilities, logs, counters that nobody asks for. ``flow``: nor
    what the tour asks beside the flow."""
    read = set(_counters())
    other = ("Ip6.", "Icmp6.", "Udp6.") if case["asked"].get("family") == "ipv4" else ("Ip.", "Icmp.", "Udp.")

    def told(counter: dict[str, Any]) -> bool:
        name = counter["name"]
        return name.partition(".")[2] in read and not name.startswith(other)

    def thin(value: Any) -> Any:
        if isinstance(value, list):
            return [thin(one) for one in value]
        if not isinstance(value, dict):
            return round(value, 3) if isinstance(value, float) else value
        if flow and "looks" in value and len(value["steps"]) > 1:  # counters are for what stood alone
            looks = [{**one, "account": {**one["account"], "counters": []}} for one in value["looks"]]
            value = {**value, "looks": looks}
        kept = {key: thin(one) for key, one in value.items() if key not in ("capabilities", "log")}
        if "steps" in kept and flow:
            kept["steps"] = [one for one in kept["steps"] if not _SIDE.match(one["step"]["purpose"])]
        if "counters" in kept:
            kept["counters"] = [one for one in kept["counters"] if told(one)]
        return kept

    thin_case: dict[str, Any] = thin(case)
    return thin_case


def _counters() -> Iterator[str]:
    """Every counter that the engine names."""
    for file in _SOURCES.rglob("*.py"):
        yield from _COUNTER.findall(file.read_text())


def keep(file: Path, name: str, about: str, flow: bool = False) -> None:
    case = thinned(json.loads(file.read_text())["case"], flow)
    told = outcome(conclude(decode(Case, case)))
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps({"about": about, **told, "case": case}, separators=(",", ":"), ensure_ascii=False)
    (FOLDER / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    flow, *words = ("--flow" in sys.argv, *(word for word in sys.argv[1:] if word != "--flow"))
    keep(Path(words[0]), words[1], words[2], flow)
