"""A diagnosis of a pair as the JSON contract has it. Pure."""

from collections.abc import Iterable

from probemesh_shared.jsonout import finding_to_json
from probemesh_shared.jsonshape import DiagnosisJson, DirectionJson, PathHopJson
from probemesh_shared.model import Diagnosis, DirectionVerdict, PathHop
from probemesh_shared.moments import time_text


def diagnosis_to_json(
    diagnosis: Diagnosis, replayed: bool = False, interrupted: bool = False
) -> DiagnosisJson:
    """``meshctl diagnose -o json``."""
    return {
        "schema": 1,
        "from": diagnosis.source,
        "to": diagnosis.target,
        "transport": diagnosis.transport,
        "port": diagnosis.port,
        "reverse_port": diagnosis.reverse_port,
        "started_at": time_text(diagnosis.started_ns),
        "forward": _direction(diagnosis.forward),
        "reverse": _direction(diagnosis.reverse),
        "findings": [finding_to_json(finding) for finding in diagnosis.findings],
        "excluded": [
            {"verdict": one.verdict, "direction": one.direction, "text": "; ".join(one.by)}
            for one in diagnosis.excluded
        ],
        "path": _path(diagnosis.path),
        "reverse_path": _path(diagnosis.reverse_path),
        "packets": diagnosis.packets,
        "elapsed_s": round(diagnosis.elapsed_s, 3),
        "missing": list(diagnosis.missing),
        "replayed": replayed,
        "interrupted": interrupted,
    }


def _direction(verdict: DirectionVerdict) -> DirectionJson:
    return {
        "outcome": verdict.outcome,
        "path_verdict": verdict.path_verdict,
        "service_verdict": verdict.service_verdict,
        "verdict": verdict.verdict,
        "confidence": verdict.confidence,
        "alternatives": list(verdict.alternatives),
    }


def _path(hops: Iterable[PathHop]) -> list[PathHopJson]:
    return [
        {
            "name": hop.name,
            "address": hop.address,
            "hop": hop.hop,
            "rtt_ms": None if hop.rtt_ms is None else round(hop.rtt_ms, 3),
            "mark": hop.mark,
            "breaks": hop.breaks,
        }
        for hop in hops
    ]
