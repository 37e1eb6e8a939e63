"""Scans as they are shown: ports by state and reason, and how far it is."""

from dataclasses import replace

import pytest
from probemesh_controller.render.ports import port_state, scan_cells
from probemesh_controller.render.progress import bar_text, span_text
from probemesh_shared.model import Failure, IcmpError, TcpDetail, UdpDetail, Vantage
from probemesh_shared.portstate import tcp_state, udp_state
from probemesh_shared.words import FailureKind, Family, Kind, Origin, Outcome, Stage

from tests.cli.fakes import row


def failed(kind: FailureKind, icmp: IcmpError | None = None, origin: Origin = Origin.PATH) -> Failure:
    return Failure(Stage.CONNECT, kind, origin, "words", icmp=icmp)


PROHIBITED = failed(FailureKind.PROHIBITED, IcmpError(Family.IPV4, 3, 13, "192.0.2.1"))
REFUSED = failed(FailureKind.REFUSED, origin=Origin.TARGET)
SILENT = failed(FailureKind.TIMEOUT, origin=Origin.UNKNOWN)
UNREACHABLE_PORT = IcmpError(Family.IPV4, 3, 3, "192.0.2.1")


def port(number: int, failure: Failure | None = None, kind: Kind = Kind.TCP, **more):
    outcome = {None: Outcome.OK, PROHIBITED: Outcome.PROHIBITED, REFUSED: Outcome.REFUSED}.get(
        failure, Outcome.TIMEOUT
    )
    state, reason = (tcp_state if kind is Kind.TCP else udp_state)(failure)
    cls = TcpDetail if kind is Kind.TCP else UdpDetail
    detail = cls(state=state, reason=reason, **more)
    made = row(kind, port=number, target=f"h:{number}", detail=detail)
    return replace(made, outcome=outcome, failure=failure)


def test_ports_are_grouped_by_what_told_their_state() -> None:
    rows = [port(22, banner_protocol="ssh"), port(80), port(443)]
    rows += [port(number, REFUSED) for number in range(1000, 1020)]
    rows += [port(2000, SILENT), port(2001, SILENT), port(2002, PROHIBITED)]
    cells = [cell.text for cell in scan_cells(Vantage("a", None, Outcome.OK, measurements=tuple(rows)))]
    assert cells == [
        "22 (ssh),80,443",
        "1000-1019 (conn-refused)",
        "2000-2001 (no-response), 2002 (admin-prohibited from 192.0.2.1)",
        "",
    ]


def test_silence_to_a_datagram_stays_honest() -> None:
    rows = (port(53, kind=Kind.UDP, protocol="dns"), port(54, SILENT, Kind.UDP))
    cells = [cell.text for cell in scan_cells(Vantage("a", None, Outcome.OK, measurements=rows))]
    assert cells[0] == "53 (dns)" and cells[2] == "54 (no-response: open or filtered)"


def test_many_ports_are_counted() -> None:
    rows = tuple(port(number, REFUSED) for number in range(1, 40, 2))
    cells = [cell.text for cell in scan_cells(Vantage("a", None, Outcome.OK, measurements=rows))]
    assert cells[1] == "20 ports (conn-refused)"


@pytest.mark.parametrize(
    ("failure", "tcp", "udp"),
    [
        (None, ("open", "syn-ack"), ("open", "udp-response")),
        (REFUSED, ("closed", "conn-refused"), ("closed", "port-unreach")),
        (SILENT, ("filtered", "no-response"), ("open|filtered", "no-response")),
        (PROHIBITED, ("filtered", "admin-prohibited"), ("filtered", "admin-prohibited")),
        (
            failed(FailureKind.REFUSED, UNREACHABLE_PORT),
            ("filtered", "port-unreach"),
            ("filtered", "port-unreach"),
        ),
        (
            failed(FailureKind.REFUSED, UNREACHABLE_PORT, Origin.TARGET),
            ("filtered", "port-unreach"),
            ("closed", "port-unreach"),
        ),
        (failed(FailureKind.RESET), ("open", "reset"), (None, None)),
        (failed(FailureKind.NO_ROUTE, origin=Origin.AGENT), (None, None), (None, None)),
        (
            failed(FailureKind.UNREACHABLE, IcmpError(Family.IPV6, 3, 0, "fe80::1")),
            ("filtered", "time-exceeded"),
            None,
        ),
        (
            failed(FailureKind.UNREACHABLE, IcmpError(Family.IPV4, 12, 0, "1.2.3.4")),
            ("filtered", "unreach"),
            None,
        ),
    ],
)
def test_states_and_reasons(failure, tcp, udp) -> None:
    assert tcp_state(failure) == tcp
    if udp is not None:
        assert udp_state(failure) == udp


def test_an_older_agent_says_no_state() -> None:
    bare = row(Kind.TCP, Outcome.REFUSED, port=1)
    assert port_state(bare) == "closed"
    assert port_state(row(Kind.TCP, Outcome.DENIED, port=1)) == "other"


def test_the_bar() -> None:
    assert bar_text(0, 100, 0.0) == f"[{'░' * 24}] 0/100 ports"
    assert bar_text(50, 100, 0.5) == f"[{'█' * 12}{'░' * 12}] 50/100 ports  100/s  1 s left"
    assert bar_text(100, 100, 200.0) == f"[{'█' * 24}] 100/100 ports  0.5/s"
    assert bar_text(7, 0, 1.0).startswith(f"[{'█' * 24}]")
    assert [span_text(s) for s in (0.2, 119, 130, 3900)] == ["1 s", "119 s", "2 min", "1 h 5 min"]
