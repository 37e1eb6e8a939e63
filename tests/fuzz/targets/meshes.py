"""The file of meshes and schedules: it is read, or told to be wrong, each thing in one line with its place;
what is read can be expanded and explained."""

from probemesh_controller.meshes.explaining import explain
from probemesh_controller.meshes.reading import FileProblems
from probemesh_controller.meshes.reading import read as read_file
from probemesh_controller.render.checkconfig import problems_text, render
from probemesh_shared.model import AgentInfo
from probemesh_shared.words import AgentState

from tests.fuzz.checks import is_line

_NOW_NS = 1_795_780_800_000_000_000
_FLEET = tuple(
    AgentInfo(name, name[:-2], {"role": "db"}, AgentState.CONNECTED)
    for name in ("oslo-1", "rome-1", "rome-2")
)
_MESH = b'[[mesh]]\nname = "m"\nshape = "full"\nagents = "all"\n'
_SCHEDULE = b'[[schedule]]\nname = "s"\nmesh = "m"\n'
_DISJOINT = b'[groups]\n"a\\u0062" = "site=rome+role=d*"\n[[mesh]]\nname = "m"\nshape = "disjoint"\n'
_PAIRS = b'[[mesh]]\nname = "m"\nshape = "pairs"\nexclude = ["a", [1]]\npairs = [ # c\n["a", "b"],\n'
_WINDOW = b'[[window]]\nname = "w"\n'
SEEDS = (
    _MESH
    + _SCHEDULE
    + b'every = "1m"\nevery_pair_within = "1h"\nkinds = ["icmp", "tcp"]\nports = [22, "80-81"]',
    _MESH + _SCHEDULE + b'cron = "*/5 * * * MON"\nspread = "30s"\nbudget = { per_agent = 0.1, total = 1 }\n',
    _DISJOINT + b'left = ["ab",\n"oslo-1"]\none_way = true\n'
    b'right = ["agent:ab:22", "https://[2001:db8::1]/", \'dns:a/MX@192.0.2.1\']\n' + _SCHEDULE,
    _PAIRS + b'["a", "b"], ["a", "icmp:b"]]\n',
    b'[[mesh]]\nname = "m"\nshape = "hub"\nhubs = """rome-1"""\n',
    _WINDOW + b'cron = "0 2 * * SUN"\nduration = "2h"\n',
    _WINDOW + b"from = 2026-12-01T22:00:00Z\nuntil = 2026-12-02T22:00:00+01:00\nagents = 'rome-*'\n",
    _WINDOW + b'cron = "* * * 1 *"\nduration = "31d"\n',
    b"[budget]\ntotal = " + b"9" * 5000,
    b"a = " + b"[{a = " * 40,
    b'"\\u001b[2J" = "\\u202e"\n',
)


def read(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        made = read_file(text, "m.toml")
    except FileProblems as error:
        is_line(str(error), 4000)
        shown = problems_text(error.file, error.problems, False).splitlines()
        assert len(shown) == len(error.problems)
        lines = text.count("\n") + 1
        assert all(one.line is None or 1 <= one.line <= lines for one in error.problems)
    else:
        shown = render(explain(made, _FLEET, _NOW_NS), False).splitlines()
    for line in shown:
        is_line(line, 4000)
