"""The file: what it means, and that whatever is wrong is told with its line and what to write instead."""

import textwrap
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_controller.meshes.filetext import MOST_BYTES
from probemesh_controller.meshes.model import Budget, Probe
from probemesh_controller.meshes.reading import FileProblems, load, read
from probemesh_controller.meshes.shape import BudgetToml, MeshFileToml, MeshToml, ScheduleToml, WindowToml
from probemesh_controller.schema import schema_of
from probemesh_shared.errors import StateError
from probemesh_shared.words import Family, Kind

from tests.meshes.world import HOUR_NS, MINUTE_NS, file, problems

MESH = '[[mesh]]\nname = "m"\nshape = "full"\nagents = "all"\n'
SCHEDULE = '[[schedule]]\nname = "s"\nmesh = "m"\nevery = "1m"\n'
HUGE = "f" * 4000

WHOLE = """
[groups]
db = "role=db"

[[mesh]]
name = "shop"
shape = "disjoint"
left = ["site=berlin", "tokyo-1"]
right = ["db", "agent:db:5432", "db.internal:5432,5433", "https://shop.example/"]
one_way = true
exclude = ["berlin-2", ["tokyo-1", "db.internal:5432,5433"]]

[[schedule]]
name = "often"
mesh = "shop"
every = "30s"
spread = "10s"
every_pair_within = "5m"
kinds = ["icmp", "tcp", "udp/53", "https/443,8443"]
ports = [22, "8000-8001"]
count = 5
interval = "100ms"
timeout = "1.5s"
family = "ipv4"
dscp = 46
size = 100
budget = { per_agent = 10, per_target = 2.5, total = 100 }

[[schedule]]
name = "nightly"
mesh = "shop"
cron = "0  3 * * MON-FRI"

[[window]]
name = "patching"
cron = "0 2 * * SUN"
duration = "2h"
schedules = ["often"]
agents = "db"

[[window]]
name = "move"
from = 2026-12-01T22:00:00Z
until = 2026-12-02T00:00:00+01:00

[budget]
total = 500
"""


def test_a_whole_file():
    made = file(WHOLE)
    often, nightly = made.schedules
    assert often.mesh is made.meshes[0]
    assert (often.every_ns, often.spread_ns, often.cycle) == (MINUTE_NS // 2, MINUTE_NS // 6, 10)
    assert often.probes == (
        Probe(Kind.ICMP),
        Probe(Kind.TCP, 22),
        Probe(Kind.TCP, 8000),
        Probe(Kind.TCP, 8001),
        Probe(Kind.UDP, 53),
        Probe(Kind.HTTP, 443, secure=True),
        Probe(Kind.HTTP, 8443, secure=True),
    )
    options = often.options
    assert (options.count, options.interval_s, options.timeout_s) == (5, 0.1, 1.5)
    assert (options.family, options.dscp, options.size) == (Family.IPV4, 46, 100)
    assert (often.budget.per_agent, often.budget.per_target, often.budget.total) == (10, 2.5, 100)
    assert (nightly.cron, nightly.every_ns, nightly.spread_ns) == ("0 3 * * MON-FRI", None, MINUTE_NS)
    assert nightly.probes == (Probe(Kind.ICMP), Probe(Kind.UDP))
    assert nightly.budget == Budget()
    patching, move = made.windows
    assert (patching.lasts_ns, patching.schedules) == (2 * HOUR_NS, ("often",))
    assert [who.selector for who in patching.agents] == ["role=db"]
    assert move.until_ns - move.from_ns == HOUR_NS
    assert made.budget.total == 500
    assert (often.line, patching.line, move.line, made.budget.line) == (13, 34, 41, 46)


def test_an_empty_file_declares_nothing():
    assert file("").schedules == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[groups\n", "1: this is no TOML: expected ']' at the end of a table declaration"),
        ("\n\na = berlin\n", "3: this is no TOML: invalid value (texts stand in quotes)"),
        ("a: 1\n", "1: this is no TOML: expected '=' after a key in a key/value pair (write key = value"),
        ("a = [1,\n2", "2: this is no TOML: unclosed array"),
        ("mesh = 3\n", "1: mesh must be a list of tables (write [[mesh]])"),
        ("[mesh]\n", "1: mesh must be a list of tables (write [[mesh]])"),
        ("[[meshes]]\n", "1: the key 'meshes' is not known here (did you mean 'mesh'?)"),
        (MESH.replace("agents", "agentz"), "4: the key 'agentz' is not known here (did you mean 'agents'?)"),
        (MESH + "one-way = true\n", "5: the key 'one-way' is not known here (did you mean 'one_way'?)"),
        ('[[mesh]]\nname = "m"\n', '1: this mesh has no shape (write shape = "…")'),
        (MESH.replace("full", "ful"), "3: shape = 'ful' is not known (did you mean 'full'?)"),
        (MESH.replace('"m"', '"M 1"'), "2: the mesh name 'M 1' may hold only"),
        (MESH.replace('"m"', "7"), "2: name is 7, and must be a text in quotes"),
        (MESH + MESH, "6: there is another mesh 'm'"),
        (MESH.replace('"all"', '"site="'), "4: 'site=' is no selector (names, globs"),
        (MESH.replace('"all"', '"self"'), "4: 'self' means nothing that lasts"),
        (MESH.replace('"all"', "[]"), "4: agents is empty"),
        (MESH.replace('"all"', '["all", 3]'), "4: 3 stands where a text must (put it in quotes)"),
        (MESH.replace('"all"', '"db:5432"'), "4: 'db:5432' is a TARGET, and only agents can stand here"),
        (MESH + 'left = "a"\n', "5: left belongs to the shape disjoint, and this one is full"),
        (MESH.replace("full", "hub").replace("agents", "hub"), "1: a mesh of shape hub needs hubs"),
        (MESH + "exclude = [[1]]\n", "5: [1] is no pair (write [\"from\", \"to\"])"),
        (MESH + "one_way = 1\n", "5: one_way is 1, and must be true or false"),
        ('[groups]\na = "all"\nb = "a"\n', "3: the group 'b' names another group (write what 'a' says: all)"),
        ('[groups]\nA = "all"\n', "2: the group name 'A' may hold only"),
        ("[groups]\na = 1\n", "2: the group 'a' must be a text"),
        (
            '[[mesh]]\nname = "p"\nshape = "pairs"\npairs = [\n["a", "b"],\n\n["a", "b"],\n]\n',
            "7: the pair a → b stands there twice (it is already on line 5)",
        ),
        (
            '[[mesh]]\nname = "p"\nshape = "pairs"\npairs = [["a", "b:99999"]]\n',
            "4: there is no port 99999 (ports are 1 to 65535",
        ),
        (
            '[[mesh]]\nname = "p"\nshape = "pairs"\npairs = [["a", "b"]]\none_way = true\n',
            "5: pairs are one way each as they are written (leave it out)",
        ),
        (MESH + SCHEDULE.replace('"m"', '"n"'), "7: there is no mesh 'n' (known: m)"),
        (MESH + SCHEDULE + SCHEDULE, "10: there is another schedule 's'"),
        (MESH + SCHEDULE.replace("1m", "500ms"), "8: every = '500ms' is too small (1s to 30d)"),
        (MESH + SCHEDULE.replace("1m", "60"), "8: every = '60' is no duration (write \"200ms\""),
        (MESH + SCHEDULE.replace('"1m"', "60"), "8: every is 60, and must be a text with a unit"),
        (
            MESH + SCHEDULE.replace("1m", "2s") + "count = 20\n",
            "8: every = '2s' is too small: 20 samples 200ms apart take 3.8 s (at least 4s)",
        ),
        (MESH + SCHEDULE.replace('every = "1m"', ""), "5: this schedule does not say when (write every"),
        (MESH + SCHEDULE + 'cron = "* * * * *"\n', "9: every and cron exclude each other"),
        (
            MESH + SCHEDULE.replace('every = "1m"', 'cron = "0 0 31 2 *"'),
            "8: the cron expression '0 0 31 2 *' never fires (no month it names has that day)",
        ),
        (MESH + SCHEDULE.replace('every = "1m"', 'cron = "* * * *"'), "8: '* * * *' is no cron expression"),
        (
            MESH + SCHEDULE.replace('every = "1m"', 'cron = "61 * * * *"'),
            "8: the cron expression '61 * * * *' cannot be read: Bad minute",
        ),
        (MESH + SCHEDULE + 'kinds = ["icpm"]\n', "9: there is no kind 'icpm' in a mesh (did you mean 'icmp"),
        (MESH + SCHEDULE + 'kinds = ["icmp/1"]\n', "9: 'icmp/1': ICMP has no ports (write icmp)"),
        (MESH + SCHEDULE + 'kinds = ["tcp"]\n', "9: tcp to agents needs a port (write tcp/5432"),
        (MESH + SCHEDULE + 'kinds = ["udp",\n"udp"]\n', "10: udp stands there twice (leave one out)"),
        (MESH + SCHEDULE + "ports = [0]\n", None),
        (MESH + SCHEDULE + 'kinds = ["tcp"]\nports = [0]\n', "10: 0 is no port (write 443 or"),
        (MESH + SCHEDULE + 'kinds = ["tcp"]\nports = ["0"]\n', "10: there is no port 0"),
        (MESH + SCHEDULE + 'kinds = ["tcp"]\nports = ["1-65535"]\n', "10: '1-65535' has too many ports (64"),
        (MESH + SCHEDULE + 'kinds = ["tcp"]\nports = ["1-60", "91-99"]\n', "10: 69 ports are too many (64"),
        (MESH + SCHEDULE + "count = 0\n", "9: count = 0 is out of range (1 to 1000)"),
        (MESH + SCHEDULE + "count = 1.5\n", "9: count is 1.5, and must be a whole number"),
        (MESH + SCHEDULE + f"count = 0x{HUGE}\n", "9: count = a number of thousands of digits is out"),
        (MESH + f"exclude = [[0x{HUGE}]]\n", "5: a number of thousands of digits is no pair"),
        (MESH + SCHEDULE + f'kinds = ["tcp"]\nports = [0x{HUGE}]\n', "10: a number of thousands of"),
        (MESH + SCHEDULE + "count = true\n", "9: count is true, and must be a whole number"),
        (MESH + SCHEDULE + 'family = "ipv5"\n', "9: family = 'ipv5' is not known (did you mean 'ipv"),
        (MESH + SCHEDULE + 'spread = "2m"\n', "9: spread = '2m' is too large (1ms to 1m)"),
        (
            MESH + SCHEDULE + 'every_pair_within = "30s"\n',
            "9: a pair cannot have its turn sooner than every 1m (at least 1m)",
        ),
        (
            MESH + SCHEDULE.replace('every = "1m"', 'cron = "0 * * * *"') + 'every_pair_within = "1h"\n',
            "9: with cron nobody can promise that",
        ),
        (MESH + SCHEDULE + "budget = { per_agent = nan }\n", "9: per_agent = nan is out of range"),
        (MESH + SCHEDULE + "budget = { agent = 1 }\n", "9: the key 'agent' is not known here (did you"),
        (
            '[[mesh]]\nname = "m"\nshape = "disjoint"\nleft = "all"\nright = "192.0.2.1:22"\n'
            + SCHEDULE
            + 'family = "ipv6"\n',
            "10: 192.0.2.1:22 is an IPv4 address, and ipv6 was given (leave it out)",
        ),
        ('[[window]]\nname = "w"\ncron = "* * * * *"\n', "1: this window does not say when"),
        (
            '[[window]]\nname = "w"\nfrom = 2026-12-01T22:00:00Z\nuntil = 2026-12-01T21:00:00Z\n',
            "4: the window ends before it begins",
        ),
        (
            '[[window]]\nname = "w"\nfrom = 2026-12-01T22:00:00\nuntil = 2026-12-01T23:00:00Z\n',
            "3: from = 2026-12-01T22:00:00 has no offset (write Z behind it for UTC)",
        ),
        (
            '[[window]]\nname = "w"\ncron = "*/5 * * * *"\nduration = "5m"\n',
            "4: the window never ends: it begins again before it has ended, always (a shorter duration",
        ),
        ('[[window]]\nname = "w"\ncron = "*/5 8-17 * * *"\nduration = "1h"\n', None),
        (
            MESH + SCHEDULE + '[[window]]\nname = "w"\ncron = "* * * * *"\nduration = "1m"\nschedules=["x"]',
            "13: there is no schedule 'x' (known: s)",
        ),
    ],
)  # fmt: skip
def test_is_told_with_line_and_suggestion(text, said):
    found = problems(text)
    if said is None:
        assert found == []
    else:
        assert [one for one in found if one.startswith(said)], found


def test_everything_is_told_at_once_and_in_order():
    text = MESH.replace("full", "ful") + SCHEDULE.replace("1m", "x") + "count = 0\n"
    lines = [int(one.partition(":")[0]) for one in problems(text)]
    assert lines == [3, 8, 9]  # and nothing of the mesh that could not be read


def test_what_is_hostile_is_escaped():
    assert problems('"\x1b[2J\u202e" = 1\n'.replace("\x1b", "\\u001b")) == [
        "1: the key '\\x1b[2J\\u202e' is not known here (known: groups, mesh, schedule, window, budget)"
    ]


def test_one_message_stands_for_several():
    with pytest.raises(FileProblems) as caught:
        read("a = 1\nb = 2\n", "m.toml")
    assert str(caught.value) == "m.toml:1: the key 'a' is not known here"
    assert caught.value.hint == "and 1 more: meshctl controller check-config m.toml"


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(StateError, match="cannot be read: no such file"):
        load(tmp_path / "none.toml")
    path = tmp_path / "large.toml"
    path.write_bytes(b"#" * (MOST_BYTES + 1))
    with pytest.raises(FileProblems, match="larger than 1 MiB"):
        load(path)
    path.write_bytes(b"a = 1\nb = \xff\n")
    with pytest.raises(FileProblems, match=r"large\.toml:2: it is not UTF-8"):
        load(path)
    path.write_text(WHOLE)
    assert load(path).name == str(path)


def test_the_schema_has_what_the_reader_takes(tmp_path: Path):
    import json
    import tomllib

    def plain(text):
        return json.loads(json.dumps(tomllib.loads(text), default=lambda value: value.isoformat()))

    schema = schema_of("meshes-file")
    jsonschema.validate(plain(WHOLE), schema, jsonschema.Draft202012Validator)
    for broken in (MESH + "one-way = true\n", MESH.replace("full", "ful"), '[[mesh]]\nname = "m"\n'):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(plain(broken), schema, jsonschema.Draft202012Validator)


def test_the_file_in_the_guide_is_one():
    """As it stands there, indented; and every key of the schema is named."""
    page = (Path(__file__).parents[2] / "docs" / "guides" / "matrix.md").read_text()
    block = page.partition("## The file\n")[2].partition("\n- ")[0]
    made = read(textwrap.dedent(block), "guide.toml")
    assert {mesh.shape for mesh in made.meshes} == {"full", "disjoint", "hub", "pairs"}
    shapes = (MeshToml, ScheduleToml, WindowToml, BudgetToml, MeshFileToml)
    assert [key for shape in shapes for key in shape.__annotations__ if key not in page] == []


@given(st.data())
def test_no_change_of_a_file_is_more_than_a_problem(data):
    """Any piece left out, doubled or replaced: it is read, or refused with words."""
    begin = data.draw(st.integers(0, len(WHOLE)))
    end = data.draw(st.integers(begin, min(len(WHOLE), begin + 40)))
    inside = data.draw(
        st.sampled_from(["", WHOLE[begin:end] * 2, "[[", '"', "= 1", "{}", "[]", "'x'", "9" * 5000])
    )
    try:
        read(WHOLE[:begin] + inside + WHOLE[end:], "m.toml")
    except FileProblems as error:
        assert error.problems
