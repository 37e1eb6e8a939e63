"""Who saw what, as ``table`` (what differs) and ``wide`` (everything) show it. Byte for byte."""

from dataclasses import replace

from probemesh_controller.render import table, wide
from probemesh_controller.render.compared import differing_lines
from probemesh_shared.model import DnsDetail, HttpDetail, TargetResult, TlsDetail, Vantage
from probemesh_shared.targets import parse_target
from probemesh_shared.words import Kind, Outcome

from tests.cli.fakes import row
from tests.cli.test_formats import HOSTILE, golden


def at(address, *given, **more):
    return replace(row(*given, target="web:443", **more), address=address)


def vantage(name, address, resolver, leaf, **http):
    names = DnsDetail("web", "A+AAAA", True, system_addresses=(address, "2001:db8::7"), resolvers=(resolver,))
    measured = (
        at(None, Kind.DNS, port=None, detail=names),
        at(address, Kind.TCP, port=443),
        at("2001:db8::7", Kind.TCP, port=443, rtts=(31.0, 32.0, 33.0)),
        at(address, Kind.TLS, port=443, detail=TlsDetail(chain=(leaf,))),
        at(address, Kind.HTTP, port=443, detail=HttpDetail(**http)),
    )
    return Vantage(name, name.partition("-")[0], Outcome.OK, None, measured)


def result(*vantages):
    return TargetResult(parse_target("web:443"), 0, vantages)


def differing():
    ours = {"status": 200, "body": b"hello", "body_size": 5, "headers": (("Server", "nginx"),)}
    other = {"status": 302, "location": "https://" + HOSTILE, "headers": (("server", HOSTILE),)}
    return result(
        vantage("berlin-1", "10.0.0.7", "10.0.0.53", b"box", **other),
        vantage("paris-1", "192.0.2.7", "192.0.2.53", b"real", **ours),
        vantage("tokyo-1", "192.0.2.7", "192.0.2.53", b"real", **ours),
    )


def test_what_differs_is_a_line_in_the_table():
    golden("differs.table", table.render([differing()], 100))


def test_wide_shows_all_of_it():
    golden("differs.wide", wide.render([differing()], 100))


def test_where_all_agree_the_table_says_nothing_of_it():
    told = {"status": 200, "body": b"hello", "body_size": 5}
    both = [vantage(name, "192.0.2.7", "192.0.2.53", b"real", **told) for name in ("berlin-1", "tokyo-1")]
    alike = tuple(
        Vantage(one.agent, one.site, one.outcome, None, one.measurements[:2] + one.measurements[3:])
        for one in both
    )
    assert differing_lines(result(*alike), 100) == []
    (families,) = differing_lines(result(*both), 100)
    assert families == "≠ family RTT: ipv6 slower from berlin-1 and tokyo-1"


def test_one_vantage_point_alone_is_compared_with_nobody():
    alone = result(vantage("berlin-1", "192.0.2.7", "192.0.2.53", b"real", status=200))
    shown = wide.render([alone], 100)
    assert "family RTT" in shown and "status" not in shown
