"""``meshctl nat``: whom it asks, what it prints in every format, its exit codes."""

import asyncio
import csv
import io
import json
import os
import signal
from dataclasses import dataclass, field, replace

import jsonschema
import pytest
import yaml
from probemesh_controller.cli import natted
from probemesh_controller.natting.seen import Seen
from probemesh_controller.render import nattable
from probemesh_controller.schema import schema_of
from probemesh_shared.errors import Unreachable
from probemesh_shared.nat import (
    RULES,
    HairpinSource,
    NatBehaviour,
    NatRule,
    Pooling,
    ReflectorSeen,
    Ruling,
)
from probemesh_shared.words import Family

from tests.cli.test_formats import HOSTILE, golden

EI, AD, APD = RULES
BEHIND = NatBehaviour(
    "berlin-1",
    "berlin",
    behind_nat=True,
    mapping=Ruling.of(EI, APD),
    filtering=Ruling.of(APD),
    firewall_only=False,
    port_preservation=True,
    ports_kept=8,
    ports_tried=8,
    hairpinning=True,
    hairpin_source=HairpinSource.EXTERNAL,
    pooling=Pooling.PAIRED,
    mapped_addresses=("198.51.100.1",),
    seen_addresses=("198.51.100.1",),
    own_addresses=("127.0.0.1", "10.1.0.2"),
    layers_least=1,
    layers_most=2,
    lifetime_s=28.0,
    lifetime_most_s=31.5,
    reflectors=(ReflectorSeen("tokyo-1", ("203.0.113.2",), ("198.51.100.1",), True, 2),),
    sent=40,
    notes=("4 sockets look the same to every reflector",),
    missing=("a second agent behind the same outside address",),
)
WALLED = NatBehaviour(
    "tokyo-1",
    "tokyo",
    behind_nat=False,
    mapping=Ruling.of(EI),
    filtering=Ruling.of(AD),
    firewall_only=True,
    port_preservation=True,
    ports_kept=8,
    ports_tried=8,
    seen_addresses=("203.0.113.2",),
    own_addresses=("203.0.113.2",),
    layers=0,
    layers_least=0,
    layers_most=0,
    cgn=False,
    sent=40,
)
UNKNOWN = NatBehaviour("oslo-1", sent=12, missing=("a datagram that arrives: of 12 none was heard",))


@dataclass
class FakeInquiries:
    """In the place of the real ones; ``hold`` waits until it is cancelled."""

    found: tuple[NatBehaviour, ...] = (BEHIND, WALLED)
    hold: bool = False
    error: Exception | None = None
    names: tuple[str, ...] = ()
    options: dict = field(default_factory=dict)

    def __call__(self, mesh, names, clock, **options):
        self.names, self.options = tuple(names), options
        return self

    async def run(self):
        self.options["on_progress"]("berlin-1", "asks \x1b[2J everybody")
        if self.error is not None:
            raise self.error
        if self.hold:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()

    def seen(self):
        return tuple(Seen(one.agent) for one in self.found)


@pytest.fixture
def asked(monkeypatch, config_file, mesh):
    fake = FakeInquiries()
    monkeypatch.setattr(natted, "Inquiries", fake)

    def concluded(seen):
        return next(one for one in fake.found if one.agent == seen.agent)

    monkeypatch.setattr(natted, "behaviour", concluded)
    return fake


# --- whom it asks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((), ("berlin-1", "tokyo-1")),
        (("all",), ("berlin-1", "tokyo-1")),
        (("tokyo-*",), ("tokyo-1",)),
        (("site=berlin",), ("berlin-1",)),
        (("all", "--exclude", "tokyo-1"), ("berlin-1",)),
        (("all", "--limit", "1"), ("berlin-1",)),
        (("self,berlin-1",), ("self", "berlin-1")),
    ],
)
def test_the_selector_is_that_of_from(meshctl, asked, arguments, names):
    assert meshctl("nat", *arguments).code == 0
    assert asked.names == names


def test_options_reach_the_driver(meshctl, asked):
    meshctl("nat", "-6", "--lifetime", "30")
    assert asked.options["family"] is Family.IPV6
    assert asked.options["lifetime"].most_s == 30
    meshctl("nat", "-4")
    assert (asked.options["family"], asked.options["lifetime"]) == (Family.IPV4, None)
    meshctl("nat", "-4", "-6")
    assert asked.options["family"] is Family.BOTH


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nobody",), 4, "no agent called 'nobody'"),
        (("site=nowhere",), 4, "no agent matches"),
        (("a b",), 2, "is no selector"),
        (("--limit", "0"), 2, "leaves nobody"),
        (("--lifetime", "1"), 2, "out of range"),
        (("--lifetime", "1e9"), 2, "out of range"),
        (("--lifetime", "nan"), 2, "out of range"),
    ],
)
def test_what_cannot_be_asked(meshctl, asked, arguments, code, words):
    ran = meshctl("nat", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err
    assert asked.names == ()


def test_a_mesh_is_needed(meshctl, home):
    assert meshctl("nat").code == 4


# --- exit codes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ((BEHIND, WALLED), 0),
        ((BEHIND, UNKNOWN), 3),
        ((UNKNOWN,), 1),
        ((UNKNOWN, replace(UNKNOWN, agent="x", sent=0)), 1),
        ((replace(UNKNOWN, sent=0),), 4),
    ],
)
@pytest.mark.parametrize("form", ["table", "json"])
def test_exit_codes(meshctl, asked, found, code, form):
    asked.found = found
    ran = meshctl("nat", "-o", form)
    assert ran.code == code
    assert found[0].agent in ran.out


def test_an_interrupt_shows_what_was_seen_by_then(meshctl, asked):
    asked.hold = True
    ran = meshctl("nat", "-o", "json")
    assert ran.code == 130
    value = json.loads(ran.out)
    assert value["interrupted"] is True and len(value["agents"]) == 2


def test_a_mesh_that_goes_away_is_one_line(meshctl, asked):
    asked.error = Unreachable("the controller is away", "is it running?")
    ran = meshctl("nat")
    assert (ran.code, ran.out) == (4, "")
    assert "error: the controller is away\nhint: is it running?" in ran.err


# --- what it prints -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["table", "wide", "json", "csv", "yaml", "jsonl"])
def test_every_format(meshctl, asked, form):
    asked.found = (BEHIND, WALLED, UNKNOWN)
    ran = meshctl("nat", "-o", form)
    assert ran.code == 3
    golden(f"nat.{form}", ran.out)


def test_json_is_what_the_schema_says(meshctl, asked):
    asked.found = (BEHIND, WALLED, UNKNOWN)
    value = json.loads(meshctl("nat", "-o", "json").out)
    jsonschema.validate(value, schema_of("nat"), jsonschema.Draft202012Validator)
    assert value["summary"] == {"behind_nat": 1, "direct": 1, "unknown": 1, "total": 3}
    first, _, last = value["agents"]
    assert (first["mapping"], first["mapping_alternatives"]) == ("undetermined", [EI, APD])
    assert (first["filtering"], first["filtering_alternatives"]) == (APD, [])
    assert last["behind_nat"] is None and last["mapping_alternatives"] == [EI, AD, APD]
    assert yaml.safe_load(meshctl("nat", "-o", "yaml").out) == value
    lines = meshctl("nat", "-o", "jsonl").out.splitlines()
    assert [json.loads(line) for line in lines] == value["agents"]


def test_csv_has_a_row_an_agent(meshctl, asked):
    header, first, second = csv.reader(io.StringIO(meshctl("nat", "-o", "csv").out))
    assert header[:4] == ["agent", "site", "family", "behind_nat"]
    told = dict(zip(header, first, strict=True))
    assert told["mapping_alternatives"] == f"{EI} {APD}" and told["behind_nat"] == "true"
    assert dict(zip(header, second, strict=True))["layers"] == "0"


def test_nothing_of_a_remote_end_steers_the_terminal(meshctl, asked):
    asked.found = (
        replace(
            BEHIND,
            site=HOSTILE,
            mapped_addresses=(HOSTILE,),
            notes=(HOSTILE,),
            missing=(HOSTILE,),
            reflectors=(ReflectorSeen(HOSTILE, (HOSTILE,), (HOSTILE,), True),),
        ),
    )
    for form in ("table", "wide", "csv", "yaml", "json"):
        ran = meshctl("nat", "-o", form)
        shown = ran.out + ran.err
        assert "\x1b" not in shown and "\u202e" not in shown and "\x07" not in shown


def test_colour_only_repeats_what_words_say():
    import re

    plain = nattable.render((BEHIND, WALLED, UNKNOWN), 120)
    painted = nattable.render((BEHIND, WALLED, UNKNOWN), 120, True)
    bare = re.sub(r"\x1b\[[0-9]*m", "", painted)
    assert "\x1b[" in painted and [line.rstrip() for line in bare.splitlines()] == plain.splitlines()


def test_it_fits_a_terminal():
    behind = replace(BEHIND, lifetime_s=None, lifetime_most_s=None)
    text = nattable.render((behind, WALLED, UNKNOWN), 120)
    assert max(map(len, text.splitlines())) <= 120
    assert "Undetermined\n  berlin-1: mapping is endpoint-independent or address-and-port-dependent" in text


def test_what_took_minutes_to_find_out_is_never_cut():
    timed = replace(BEHIND, lifetime_s=123.4, lifetime_most_s=128.9, hairpin_source=HairpinSource.INTERNAL)
    assert "123 to 129 s" in nattable.render((timed, WALLED), 80)


@pytest.mark.parametrize(
    ("change", "column", "words"),
    [
        ({"behind_nat": None}, "NAT", "not known"),
        ({"cgn": True}, "NAT", "yes, carrier-grade"),
        ({"filtering": Ruling()}, "FILTERING", "not known"),
        ({"filtering": Ruling.of(AD, APD)}, "FILTERING", f"{AD} or {APD}"),
        ({"ports_kept": 0}, "PORTS", "changed"),
        ({"ports_kept": 5}, "PORTS", "kept 5 of 8"),
        ({"hairpinning": False}, "HAIRPIN", "no"),
        ({"hairpinning": None}, "HAIRPIN", "not known"),
        ({"hairpin_source": HairpinSource.INTERNAL}, "HAIRPIN", "yes, inside source"),
        ({"lifetime_s": 150.0, "lifetime_most_s": None}, "LIFETIME", "over 150 s"),
        ({"lifetime_s": None, "lifetime_most_s": 2.0}, "LIFETIME", "under 2 s"),
        ({"layers": 1, "layers_most": 1}, "NATS", "1"),
        ({"layers_most": None}, "NATS", "1 or more"),
    ],
)
def test_the_words_of_a_cell(change, column, words):
    head, row, *_ = nattable.render((replace(BEHIND, **change),), 400, wide=True).splitlines()
    start = head.index(f" {column}") + 1
    assert row[start:].startswith(words)
    assert row[start + len(words) :][:1] in ("", " ")


def test_what_many_agents_lack_is_said_once():
    many = [replace(BEHIND, agent=f"h{number}") for number in range(9)]
    text = nattable.render(many, 120)
    assert text.count("a second agent behind") == 1
    assert "h0, h1, h2 and 6 more: a second agent" in text
    assert text.endswith("9 of 9 agents behind a NAT\n")


def test_rulings_are_one_or_a_set():
    assert Ruling.of(APD, EI) == Ruling(NatRule.UNDETERMINED, (EI, APD))
    assert Ruling.of(AD) == Ruling(AD, ())
    assert Ruling.of(AD).possible == (AD,)
