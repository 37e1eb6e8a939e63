"""Signs of the prober's own host: did the packets leave it? Pure."""

from collections.abc import Iterator

from probemesh_shared.model import Place
from probemesh_shared.words import PlaceKind, Transport

from probemesh_controller.pair.flow import names
from probemesh_controller.pair.flow.counts import Counts, Host, host_of
from probemesh_controller.pair.flow.purposes import AGAIN
from probemesh_controller.pair.signs import Notes, Reader, Sign
from probemesh_controller.pair.view import Probed, View


def _read(view: View, notes: Notes) -> Iterator[Sign]:
    for probed in view.probes_here(AGAIN):
        if not probed.alone or not probed.shots:
            continue
        host = host_of(view.near_account(probed), probed, view, len(probed.shots)) or _by_itself(probed, view)
        if host is not None:
            yield from _counted(host, view, notes)


def _by_itself(probed: Probed, view: View) -> Host | None:
    """Where no watch is armed: what the prober counted over its own flow, without a baseline."""
    flow = probed.flow
    if flow is None or not flow.counters:
        return None
    counts = Counts(flow.counters, flow.elapsed_ms, len(probed.shots))
    return Host(counts, ":" in (view.address or ""))


def _counted(host: Host, view: View, notes: Notes) -> Iterator[Sign]:
    kept, place = host.kept_in(), Place(PlaceKind.SOURCE_HOST)
    if kept is not None:
        asked, out = (host.counts.delta(host.ip(name)) for name in ("OutRequests", "OutTransmits"))
        text = (
            f"{view.near_name} sent {asked:.0f} packets and {out:.0f} left it "
            f"({host.ip('OutRequests')}, {host.ip('OutTransmits')})"
        )
        yield Sign(names.NEAR_OUT_LOST, kept, (notes.note(text),), place)
    if view.transport is not Transport.TCP:
        return
    # older kernels do not count what leaves, and none counts what a device's egress hook drops; a repeated
    # SYN that its own host drops is counted by all of them
    failed = host.counts.rose("TcpExt.TCPRetransFail")
    if failed is not None:
        delta = host.counts.delta("TcpExt.TCPRetransFail")
        text = f"{delta:.0f} of {view.near_name}'s repeated SYNs could not leave it (TCPRetransFail)"
        yield Sign(names.REPEAT_FAILED, failed, (notes.note(text),), place)


READER = Reader(frozenset({names.NEAR_OUT_LOST, names.REPEAT_FAILED}), _read)
