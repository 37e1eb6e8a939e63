"""Traces and path MTU as the JSON contract has them (:mod:`probemesh_shared.jsonshape`). Pure."""

import math

from probemesh_shared.hopview import HopView, hop_views
from probemesh_shared.jsonshape import (
    HopAnswerJson,
    HopJson,
    IcmpErrorJson,
    MtuDetailJson,
    TraceDetailJson,
)
from probemesh_shared.model import HopAnswer, IcmpError, MtuDetail, TraceDetail, TraceHop


def trace_to_json(detail: TraceDetail, target: str | None) -> TraceDetailJson:
    """``target`` is the address that was traced."""
    views = hop_views(detail, target)
    return {
        "transport": detail.transport,
        "reached": detail.reached,
        "distance": detail.distance,
        "ended": detail.ended,
        "rewritten_at": detail.rewritten_at,
        "stand_in": detail.stand_in,
        "local_address": detail.local_address,
        "local_port": detail.local_port,
        "hops": [_hop(hop, view) for hop, view in zip(detail.hops, views, strict=True)],
    }


def mtu_to_json(detail: MtuDetail) -> MtuDetailJson:
    return {
        "mtu": detail.mtu,
        "failing": detail.failing,
        "told": detail.told,
        "told_by": detail.told_by,
        "interface_mtu": detail.interface_mtu,
        "black_hole": detail.black_hole,
        "fragments_pass": detail.fragments_pass,
    }


def icmp_error_to_json(error: IcmpError) -> IcmpErrorJson:
    return {
        "family": error.family,
        "type": error.type,
        "code": error.code,
        "sender": error.sender,
        "ttl": error.ttl,
        "info": error.info,
    }


def _hop(hop: TraceHop, view: HopView) -> HopJson:
    ratio = view.loss_ratio
    return {
        "hop": view.hop,
        "sent": view.sent,
        "lost": view.lost,
        "loss_ratio": None if ratio is None else round(ratio, 6),
        "addresses": list(view.addresses),
        "best_ms": _ms(view.best_ms),
        "median_ms": _ms(view.median_ms),
        "worst_ms": _ms(view.worst_ms),
        "return_hops": view.return_hops,
        "marks": list(view.marks),
        "note": view.note,
        "answers": [_answer(answer) for answer in hop.answers],
    }


def _answer(answer: HopAnswer) -> HopAnswerJson:
    return {
        "address": answer.address,
        "rtt_ms": _ms(answer.rtt_ms),
        "how": answer.how,
        "icmp": icmp_error_to_json(answer.icmp) if answer.icmp else None,
        "ttl": answer.ttl,
        "mtu": answer.mtu,
        "quoted_source": answer.quoted_source,
        "quoted_port": answer.quoted_port,
        "quoted_mss": answer.quoted_mss,
        "changed": list(answer.changed),
    }


def _ms(value: float | None) -> float | None:
    return round(value, 3) if value is not None and math.isfinite(value) else None


__all__ = ["icmp_error_to_json", "mtu_to_json", "trace_to_json"]
