"""Named modules: read from the configuration, flags win, slips are told with their place."""

import json
import tomllib
from dataclasses import fields as fields_of
from enum import EnumType
from pathlib import Path

import jsonschema
import pytest
from probemesh_controller import config
from probemesh_controller.cli.main import app
from probemesh_controller.cli.specs import Asked, fields, saved
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.model import Expectation, HttpSpec, IcmpSpec, LadderSpec, TcpSpec
from probemesh_shared.words import Family
from typer.main import get_command

from tests.cli.fakes import tcp_row

MODULES = """
[modules.shop]
description = "the shop answers"
kind = "http"
count = 7
interval = 1
timeout = 2.5
deadline = 40
family = "ipv6"
dscp = 46
method = "HEAD"
header = ["X-A: b", "X-C: d"]
expect = ["status=200-299", "rtt-max=300ms"]

[modules.closed]
expect_fail = true
expect-status = "404"

[modules."pings"]
kind = ["icmp", "tcp"]
size = 100
dont-fragment = true

[contexts.demo.modules.shop]
kind = "tcp"
"""


@pytest.fixture
def with_modules(config_file):
    config_file.write_text(config_file.read_text() + MODULES.partition("[contexts")[0])
    return config_file


@pytest.fixture
def probe(meshctl, with_modules, mesh):
    """The specs that a probe with a module comes to, and the request."""
    mesh.script = {"berlin-1": (tcp_row(),)}

    def run(target, *options):
        ran = meshctl("probe", target, "--from", "berlin-1", *options)
        assert mesh.requests, ran.err
        return mesh.requests[-1].specs, mesh.requests[-1]

    return run


def test_every_option_of_a_module_is_used(probe):
    (spec,), request = probe("https://web/", "--module", "shop")
    assert isinstance(spec, HttpSpec)
    options = spec.options
    assert (options.count, options.interval_s, options.timeout_s) == (7, 1.0, 2.5)
    assert (options.family, options.dscp, request.deadline_s) == (Family.IPV6, 46, 40.0)
    assert (spec.method, spec.headers) == ("HEAD", (("X-A", "b"), ("X-C", "d")))
    assert options.expect == (Expectation("status", "200-299"), Expectation("rtt-max", "300ms"))
    icmp, tcp = probe("db:1", "--module", "pings")[0]
    assert isinstance(icmp, IcmpSpec) and isinstance(tcp, TcpSpec)
    assert (icmp.options.size, icmp.options.dont_fragment) == (100, True)


def test_flags_win_even_where_they_say_the_default(probe):
    (spec,), request = probe(
        *("https://web/", "--module", "shop", "--count", "3", "-4", "--deadline", "15", "--header", "X-E: f"),
        *("--method", "GET"),
    )
    assert (spec.options.count, spec.options.family, request.deadline_s) == (3, Family.IPV4, 15)
    assert (spec.method, spec.headers) == ("GET", (("X-E", "f"),))
    assert spec.options.timeout_s == 2.5
    (ladder,), _ = probe("https://web/", "--module", "closed", "-k", "http", "--expect-status", "200")
    assert ladder.options.expect == (Expectation("status", "200"),)


def test_an_expectation_given_replaces_those_of_its_key_and_leaves_the_others(probe):
    (spec,), _ = probe("https://web/", "--module", "shop", "--expect", "status=404", "--expect", "body=x")
    assert spec.options.expect == (
        Expectation("rtt-max", "300ms"),
        Expectation("status", "404"),
        Expectation("body", "x"),
    )


def test_a_context_s_own_module_comes_first(probe, with_modules):
    with_modules.write_text(with_modules.read_text() + "[contexts.demo.modules.shop]\nkind = 'tcp'\n")
    (spec,), _ = probe("web:1", "--module", "shop")
    assert isinstance(spec, TcpSpec)


def test_expect_fail_can_be_saved(meshctl, with_modules, mesh):
    mesh.script = {"berlin-1": (tcp_row(),)}
    ran = meshctl("probe", "https://web/", "--from", "berlin-1", "--module", "closed")
    assert ran.code == 1 and "✕ reached" in ran.out
    assert isinstance(mesh.requests[0].specs[0], LadderSpec)


REFUSED = [
    ("", "shpo", "there is no module 'shpo'", "did you mean 'shop'?"),
    ("", "qqq", "there is no module 'qqq'", "write [modules.NAME] in"),
    (
        "[modules.a]\ncuont = 3",
        "a",
        "config.toml, module a: there is no option 'cuont'",
        "did you mean 'count'?",
    ),
    ("[modules.a]\nzzz = 3", "a", "there is no option 'zzz'", "known: alpn"),
    ("[modules.a]\ncount = '3'", "a", "module a: count is not a whole number", "--count"),
    ("[modules.a]\ncount = true", "a", "count is not a whole number", "--count"),
    ("[modules.a]\ntimeout = 'x'", "a", "timeout is not a number", "--timeout"),
    ("[modules.a]\nsource = 1.5", "a", "source is not a text in quotes", "--source"),
    ("[modules.a]\nexpect_fail = 1", "a", "expect_fail is not true or false", "--expect-fail"),
    ("[modules.a]\nfamily = 'ipv5'", "a", "family is not one of both, ipv4, ipv6", None),
    ("[modules.a]\nkind = [1]", "a", "kind is not a text in quotes, or a list", "--kind"),
    (
        "[modules.a]\nexpect = ['stauts=2']",
        "a",
        "module a: expect: there is no expectation 'stauts'",
        "status",
    ),
    ("[modules.a]\nkind = 'tpc'", "a", "there is no probe kind 'tpc' (with module a)", "did you mean 'tcp'?"),
    ("[modules.a]\ncount = 0", "a", "--count 0 is out of range (with module a)", "1 to 1000"),
    ("[modules.a]\ndescription = 1", "a", "description is not a text", None),
    ("[modules.'a b']\n", "a b", "may hold only", None),
    ("[modules]\na = 3", "a", "config.toml, module a is not a table", "write [modules.NAME]"),
]


@pytest.mark.parametrize(("text", "name", "said", "hint"), REFUSED)
def test_slips_are_told_with_their_place(meshctl, with_modules, mesh, text, name, said, hint):
    with_modules.write_text(with_modules.read_text() + text)
    ran = meshctl("probe", "db:1", "--module", name)
    assert ran.code == 2 and not mesh.requests
    assert said in ran.err and "hint: " in ran.err
    assert hint is None or hint.replace("known: alpn", "known: ") in ran.err


def test_a_slip_stops_no_command_that_does_not_use_it(meshctl, with_modules, mesh):
    with_modules.write_text(with_modules.read_text() + "[modules.broken]\nnothing = 1\n")
    mesh.script = {"berlin-1": (tcp_row(),)}
    assert meshctl("probe", "db:5432", "--from", "berlin-1").code == 0
    assert meshctl("context").code == 0


@pytest.mark.parametrize("slip", ["[modules]\na = 3\n", "[contexts.demo.modules]\na = [1]\n"])
def test_what_is_no_table_stops_no_command_either_and_is_kept(meshctl, config_file, mesh, slip):
    config_file.write_text(config_file.read_text() + slip + "[modules.good]\nkind = 'tcp'\n")
    mesh.script = {"berlin-1": (tcp_row(),)}
    before = tomllib.loads(config_file.read_text())
    for arguments in (("agents",), ("history",), ("context",), ("probe", "db:5432", "--from", "berlin-1")):
        ran = meshctl(*arguments)
        assert (ran.code, "error:" in ran.err) == (0, False), arguments
    assert meshctl("probe", "db:5432", "--from", "berlin-1", "--module", "good").code == 0
    config.save(config.load(config_file))
    after = tomllib.loads(config_file.read_text())
    assert after["modules"] == before["modules"]
    assert after["contexts"]["demo"].get("modules") == before["contexts"]["demo"].get("modules")


@pytest.mark.parametrize("arguments", [("modules",), ("modules", "list", "-o", "json")])
def test_the_list_has_the_good_ones_and_says_what_is_wrong_with_the_others(meshctl, with_modules, arguments):
    text = with_modules.read_text() + "[modules.bad]\ncuont = 3\n[modules.worse]\nexpect = ['stauts=2']\n"
    with_modules.write_text(text)
    ran = meshctl(*arguments)
    assert ran.code == 2 and "shop" in ran.out and "closed" in ran.out and "http_2xx" in ran.out
    assert "bad" not in ran.out and "worse" not in ran.out
    assert [line.partition(": ")[0] for line in ran.err.splitlines()] == ["error", "hint"] * 2
    assert "config.toml, module bad: there is no option 'cuont'" in ran.err
    assert "config.toml, module worse: expect: " in ran.err


def test_the_file_keeps_its_modules_when_it_is_written(with_modules):
    with_modules.write_text(
        with_modules.read_text()
        + '[modules.odd]\nwhen = 2026-01-01\nnested = { a = [1, 2.5, true], "b c" = "\\u0001é" }\n'
        + "[contexts.demo.modules.own]\nkind = 'tcp'\n"
    )
    before = tomllib.loads(with_modules.read_text())
    config.save(config.load(with_modules))
    after = tomllib.loads(with_modules.read_text())
    after["modules"]["odd"]["when"] = before["modules"]["odd"]["when"]
    assert after["modules"] == before["modules"]
    assert after["contexts"]["demo"]["modules"] == {"own": {"kind": "tcp"}}


def test_they_are_listed_and_shown(meshctl, with_modules):
    listed = meshctl("modules").out
    assert "shop" in listed and "the shop answers" in listed and "built in" in listed
    said = json.loads(meshctl("modules", "list", "-o", "json").out)
    assert [one["name"] for one in said["modules"]] == sorted(one["name"] for one in said["modules"])
    shown = meshctl("modules", "show", "shop").out
    assert tomllib.loads(shown)["modules"]["shop"] == tomllib.loads(MODULES)["modules"]["shop"]
    told = json.loads(meshctl("modules", "show", "closed", "-o", "json").out)
    (one,) = told["modules"]
    schema = json.loads(SCHEMA.read_text())
    jsonschema.validate(told, schema)
    jsonschema.validate(said, schema)
    assert one["options"] == {"expect_fail": True, "expect_status": "404"}
    unknown = meshctl("modules", "show", "http_2xy")
    assert unknown.code == 2 and "did you mean 'http_2xx'?" in unknown.err


#: Options of ``probe`` that are no part of what is measured.
_NOT_SAVED = {"--from", "--exclude", "--limit", "--module", "--output", "--ci"} | {
    *("--watch", "--until", "--every", "--rounds", "--for", "--within", "--share", "--yes"),
}


def test_every_option_of_probe_can_be_saved_and_every_key_is_an_option():
    command = get_command(app)
    probe = command.get_command(None, "probe")
    common = {"--context", "--config", "--color", "--debug"}
    options = {opt for p in probe.params for opt in p.opts if opt.startswith("-")}
    long = {opt for opt in options if opt.startswith("--")} - common - _NOT_SAVED
    saveable = {fields.option(key) for key in fields.known()} - {"--family"}
    assert saveable == long & saveable, "a field is called otherwise than its option: see fields._CALLED"
    assert long - saveable == set(), "an option that a module cannot set, or that belongs to _NOT_SAVED"


def test_every_field_has_a_type_that_a_file_can_give(tmp_path):
    tried = {bool: True, int: 1, float: 1.5, str: "x", Path: "x"}
    for key, slot in fields.slots().items():
        kind = fields._without_none(slot.type)
        words = [str(member) for member in kind] if isinstance(kind, EnumType) else [["x"]]
        value = tried.get(kind, words[0])
        read = fields.read(key, value, "here", tmp_path)
        asked = fields.with_value(Asked(), key, read)
        part = asked if slot.part is None else getattr(asked, slot.part)
        assert getattr(part, slot.field) == read


def test_no_two_kinds_call_an_option_the_same():
    parts = [getattr(Asked(), f.name) for f in fields_of(Asked)]
    names = [fields.called(f.name) for part in parts if hasattr(part, "given") for f in fields_of(part)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", saved._BUILT_IN)
def test_built_in_modules_read(name, tmp_path):
    module = saved.find(name, [], tmp_path / "config.toml")
    assert module.source == saved.BUILT_IN and module.description
    assert saved.applied(Asked(), module, frozenset()).kinds == module.options["kind"]


def test_bare_text_is_left_to_udp(tmp_path):
    path = tmp_path / "config.toml"
    read = saved.read("a", {"kind": "udp", "expect": ["pong"]}, "the file", path)
    assert read.options["expect"] == ("pong",)
    with pytest.raises(InvalidRequest, match="has no value"):
        saved.read("a", {"expect": ["pong"]}, "the file", path)


SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "modules.schema.json"
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "probing.md"


def test_the_guide_s_example_reads_and_names_what_is_built_in(tmp_path):
    guide = GUIDE.read_text("utf-8")
    example = guide.partition("### Modules")[2].partition("```toml\n")[2].partition("```")[0]
    path = tmp_path / "config.toml"
    path.write_text(
        example.replace(
            "[contexts.staging.modules", "[contexts.staging]\nmesh = 'm'\n[contexts.staging.modules"
        )
    )
    loaded = config.load(path)
    assert set(loaded.modules) == {"shop", "walled-off"}
    for source, modules in (("the file", loaded.modules), ("x", loaded.contexts["staging"].modules)):
        for name, table in modules.items():
            assert saved.read(name, table, source, path).options
    assert all(f"`--module {name}`" in guide or f"`{name}`" in guide for name in saved._BUILT_IN)
