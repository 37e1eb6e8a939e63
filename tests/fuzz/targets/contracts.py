"""A contract file: it is read, or told to be wrong, each thing in one line with its place; what is read can
be aimed, judged and written as JUnit that an XML parser reads."""

import xml.etree.ElementTree as ElementTree

from probemesh_controller.contracts.judging import aim, causes, hold
from probemesh_controller.contracts.junit import render
from probemesh_controller.contracts.reading import ContractProblems
from probemesh_controller.contracts.reading import read as read_file
from probemesh_controller.contracts.wording import render as table
from probemesh_shared.errors import MeshError
from probemesh_shared.model import AgentInfo, TargetResult, Vantage
from probemesh_shared.words import AgentState, Outcome

from tests.fuzz.checks import is_line

_FLEET = tuple(
    AgentInfo(name, name[:-2], {"role": "db"}, AgentState.CONNECTED, addresses=("192.0.2.1", "fe80::1%x"))
    for name in ("oslo-1", "rome-1", "rome-2")
)
SEEDS = (
    b'count = 2\ntimeout = "1s"\n[[must]]\nname = "a\\u001b"\nfrom = "site=rome"\nto = ["db:5432", "https://a/"]\n',
    b'[[must]]\nto_agents = "all"\nport = [22, 443]\nkind = "tcp"\nfamily = "ipv4"\nrtt_max = "20ms"\n',
    b'[[must_not]]\nto = "db:1"\nexclude = "rome-*"\nexpect = ["status=200"]\n[[must_not]]\nto = "icmp:db"\n',
    b'[[must]]\nto = ["dns:a/MX@192.0.2.1", "agent:rome-1:22"]\nloss_max = "1%"\nport = 7\n',
    b"deadline = " + b"9" * 5000,
)


def read(data: bytes) -> None:
    try:
        contract = read_file(data.decode("utf-8", "replace"), "c.toml")
        aimed = aim(contract, _FLEET, True)
    except ContractProblems as error:
        for told in (str(error), *error.problems):
            is_line(told, 4000)
        return
    except MeshError as error:
        is_line(str(error), 4000)
        return
    held = []
    for one in aimed[:8]:
        rows = tuple(Vantage(name, None, Outcome.TIMEOUT, reason="a\x1b\ud800") for name in one.sources)
        held.append(hold(one, {target.text: TargetResult(target, 0, rows) for target in one.targets}))
    found = causes(held, _FLEET)
    ElementTree.fromstring(render("c.toml", held, []))
    for line in table(held, found, False).splitlines():
        is_line(line, 4000)
