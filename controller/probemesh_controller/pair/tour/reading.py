"""Does somebody on the way answer in the place of a TLS service, or of a name server? (rules "
"27, 28). Pure."""

import hashlib
from collections.abc import Iterator

from probemesh_shared.model import Options, Place, Shot, TlsDetail, TlsSpec
from probemesh_shared.words import PlaceKind, Transport, Verdict

from probemesh_controller.pair.case import Round, Step
from probemesh_controller.pair.causes import Cause, Told, proven_by
from probemesh_controller.pair.flow.rungs import known_hops
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.signs import Notes, Reader, Sign, Signs
from probemesh_controller.pair.tlsports import TLS_PORTS
from probemesh_controller.pair.tour import names
from probemesh_controller.pair.tour.basis import distance, fates, flow, round_of, step
from probemesh_controller.pair.view import View

CERTIFICATE, RESOLVER = "certificate", "resolver"
TLS, DNS = "tour-tls", "tour-dns"
_NAME = "pair.probemesh.invalid"
#: A query for the address of a name that does not exist anywhere.
_QUERY = (
    b"\x70\x6d\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
    + b"".join(bytes([len(label)]) + label.encode() for label in _NAME.split("."))
    + b"\x00\x00\x01\x00\x01"
)


def speaks_tls(view: View) -> bool:
    return view.transport is Transport.TCP and view.port in TLS_PORTS


# --- certificates -----------------------------------------------------------------------------------------


def _read_tls(view: View, notes: Notes) -> Iterator[Sign]:
    armed = view.far.armed if view.far is not None else None
    shown = {
        row.detail.chain[0]
        for probed in view.probes_here(TLS)
        for row in probed.done.rows
        if isinstance(row.detail, TlsDetail) and row.detail.chain
    }
    if not shown or armed is None or armed.certificate is None:
        return
    text = (
        f"{view.near_name} is shown certificate {_prints(shown)} at {view.address}, {view.far_name} itself "
        f"{_prints({armed.certificate})}"
    )
    yield Sign(names.OTHER_CERTIFICATE, armed.certificate not in shown, (notes.note(text),))


def _prints(leaves: set[bytes]) -> str:
    return " and ".join(sorted(hashlib.sha256(leaf).hexdigest()[:16] for leaf in leaves))


def _build_tls(view: View, signs: Signs) -> Round | None:
    if view.address is None:
        return None
    spec = TlsSpec(Options(count=2, interval_s=0.05, timeout_s=2.0), server_name=view.address)
    why = "which certificate it is shown"
    one = Step("", TLS, why, view.near_name, view.address, view.port, spec, view.far_name, view.direction)
    return Round((one,))


def _can_compare(view: View, signs: Signs) -> bool:
    armed = view.far.armed if view.far is not None else None
    known = armed is not None and armed.certificate is not None
    return known and signs.holds(names.FLOW_READY) is True and speaks_tls(view)


# --- name servers -----------------------------------------------------------------------------------------


def _read_dns(view: View, notes: Notes) -> Iterator[Sign]:
    far = distance(view)
    if far is None:
        return
    shots = [
        (fate, probed)
        for probed in view.probes_here(DNS)
        for fate in fates(probed)
        if fate.plan.ttl is not None and fate.plan.ttl < far
    ]
    answered = [fate for fate, _ in shots if any(_is_answer(reply.size) for reply in fate.seen.replies)]
    if answered:
        ttl = min(fate.plan.ttl or 0 for fate in answered)
        text = (
            f"a query to {view.address} port 53 with TTL {ttl} was answered; {view.far_name} is "
            f"{far} hops away"
        )
        place = Place(PlaceKind.HOP, known_hops(view).get(ttl), ttl)
        yield Sign(names.DNS_SHORT, True, (notes.note(text),), place, {"ttl": str(ttl)})
    elif shots:
        text = f"no query to {view.address} port 53 that cannot reach it was answered"
        yield Sign(names.DNS_SHORT, False, (notes.note(text),))


def _is_answer(size: int | None) -> bool:
    return (size or 0) >= 12


def _build_dns(view: View, signs: Signs) -> Round | None:
    """With every TTL that does not lead to the far host."""
    far = distance(view)
    if far is None or far < 2:
        return None
    shots = tuple(Shot(at_ms=20.0 * ttl, ttl=ttl, port=53, send=_QUERY) for ttl in range(1, min(far, 9)))
    spec = flow(view, Transport.UDP, shots, timeout_s=0.5)
    return round_of(step(view, DNS, "does somebody else answer its queries", spec, 53))


READER = Reader(
    frozenset({names.OTHER_CERTIFICATE, names.DNS_SHORT}),
    lambda view, notes: (*_read_tls(view, notes), *_read_dns(view, notes)),
)


def _tls_said(told: Told) -> str:
    view = told.view
    return (
        f"something between {view.near_name} and {view.far_name} ends the TLS of port "
        f"{view.port} and shows a "
        f"certificate of its own: {view.far_name}'s service has another"
    )


_WHEN = {names.FLOW_READY: True}
_TCP = frozenset({Transport.TCP})

CAUSES = (
    Cause(
        "own-certificate",
        Verdict.REACHABLE,
        lambda told: "the certificate is the one that the service has",
        predicts={names.OTHER_CERTIFICATE: False},
        question=CERTIFICATE,
        transports=_TCP,
        when=_WHEN,
    ),
    Cause(
        "tls-intercept",
        Verdict.TLS_INTERCEPT,
        _tls_said,
        predicts={names.OTHER_CERTIFICATE: True},
        proof=proven_by((names.OTHER_CERTIFICATE,)),
        place=lambda told: told.signs[names.CONNECTS_SHORT].place,
        next_test=lambda told: (
            "compare the issuer of the certificate that is shown with your own authorities"
        ),
        question=CERTIFICATE,
        transports=_TCP,
        when=_WHEN,
    ),
    Cause(
        "no-dns-intercept",
        Verdict.REACHABLE,
        lambda told: "nobody on the way answers queries",
        predicts={names.DNS_SHORT: False},
        question=RESOLVER,
        when={names.READY: True},
    ),
    Cause(
        "dns-intercept",
        Verdict.DNS_INTERCEPT,
        lambda told: (
            f"something at hop {told.value(names.DNS_SHORT, 'ttl')} answers name queries of "
            f"{told.view.near_name} in the place of whoever they are sent to"
        ),
        predicts={names.DNS_SHORT: True},
        proof=proven_by((names.DNS_SHORT,)),
        place=lambda told: told.signs[names.DNS_SHORT].place,
        question=RESOLVER,
        when={names.READY: True},
    ),
)

MOVES = (
    Move(
        TLS,
        frozenset({names.OTHER_CERTIFICATE}),
        _build_tls,
        cost=0.4,
        wants=_can_compare,
    ),
    Move(
        DNS,
        frozenset({names.DNS_SHORT}),
        _build_dns,
        cost=0.5,
        wants=lambda view, signs: view.port == 53 and signs.holds(names.READY) is True,
    ),
)
