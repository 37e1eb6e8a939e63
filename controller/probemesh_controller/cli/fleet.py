"""What ``meshctl agents`` does with a mesh, and how it says so."""

import time
from collections.abc import Sequence
from dataclasses import replace

from probemesh_shared.errors import InvalidRequest, MeshError, NotFound, Unreachable
from probemesh_shared.escape import escape
from probemesh_shared.jsonout import agents_to_json, bare_version, plain
from probemesh_shared.model import AgentInfo, Narrowing
from probemesh_shared.moments import time_text
from probemesh_shared.names import check_name, did_you_mean, parse_label
from probemesh_shared.narrowing import in_words
from probemesh_shared.words import AgentState

from probemesh_controller import config
from probemesh_controller.api import Mesh
from probemesh_controller.cli import connect
from probemesh_controller.cli.flags import load_config, note, required_context, say, use_color
from probemesh_controller.cli.output import Format, print_value, terminal_width, write
from probemesh_controller.render.text import Cell, columns

_STATES = {
    AgentState.CONNECTED: ("✓", "good"),
    AgentState.LOST: ("✕", "bad"),
    AgentState.REVOKED: ("–", "dim"),
}
#: How the words of kernel counters begin.
_COUNTER = "counter:"


async def all_agents() -> tuple[AgentInfo, ...]:
    context = required_context()
    async with connect.opened(context) as mesh:
        agents = await mesh.agents()
    connect.remember_names(context, agents)
    return tuple(sorted(agents, key=lambda agent: (agent.site or "", agent.name)))


def find(name: str, agents: Sequence[AgentInfo]) -> AgentInfo:
    for agent in agents:
        if agent.name == name:
            return agent
    raise NotFound(
        f"there is no agent called '{escape(name, 80)}'", did_you_mean(name, [a.name for a in agents])
    )


def print_agents(agents: Sequence[AgentInfo], wanted: Format) -> None:
    if wanted in (Format.TABLE, Format.WIDE):
        write(agents_table(agents, time.time_ns(), wanted is Format.WIDE))
        for one in agents:
            if one.reason is not None:
                note(f"note: {one.name}: {escape(one.reason, 300)}")
        return
    value = agents_to_json(agents)
    if wanted is Format.JSONL:
        for agent in value["agents"]:
            print_value(agent, wanted)
    else:
        print_value(value, wanted)


def agents_table(agents: Sequence[AgentInfo], now_ns: int, wide: bool) -> str:
    import sys

    if not agents:
        note("no agents yet: meshctl token create prints the line that joins a host")
        return ""
    header = ["NAME", "SITE", "STATE", "SEEN", "VERSION", "LABELS", "ADDRESSES"]
    rows = [_row(agent, now_ns, wide) for agent in agents]
    return "\n".join(columns(header, rows, terminal_width(), use_color(sys.stdout))) + "\n"


def _row(agent: AgentInfo, now_ns: int, wide: bool) -> list[Cell]:
    sign, style = _STATES[agent.state]
    addresses = agent.addresses if wide else agent.addresses[:2]
    more = "" if len(addresses) == len(agent.addresses) else f" +{len(agent.addresses) - len(addresses)}"
    return [
        Cell(agent.name),
        Cell(agent.site or "–"),
        Cell(f"{sign} {agent.state}", style),
        Cell(_seen(agent, now_ns)),
        Cell(bare_version(agent.version) or "–"),
        Cell(" ".join(f"{key}={value}" for key, value in sorted(agent.labels.items()))),
        Cell(" ".join(addresses) + more),
    ]


def _seen(agent: AgentInfo, now_ns: int) -> str:
    if agent.state is AgentState.CONNECTED:
        return "now"
    if agent.last_seen_ns is None:
        return "never"
    seconds = max(0, (now_ns - agent.last_seen_ns) // 1_000_000_000)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def print_one(agent: AgentInfo, wanted: Format) -> None:
    if wanted not in (Format.TABLE, Format.WIDE):
        print_value(plain(agents_to_json([agent])["agents"][0]), wanted)
        return
    seen = time_text(agent.last_seen_ns)[:19] + "Z" if agent.last_seen_ns else "never"
    lines = {
        "name": agent.name,
        "site": agent.site or "–",
        "state": agent.state.value + (f": {agent.reason}" if agent.reason else ""),
        "last seen": seen,
        "version": bare_version(agent.version) or "–",
        "labels": " ".join(f"{key}={value}" for key, value in sorted(agent.labels.items())) or "–",
        "addresses": " ".join(agent.addresses) or "–",
        "can do": _can_do(agent),
        **{f"narrowed{'' if n == 0 else n + 1}": _narrowed(one) for n, one in enumerate(agent.narrow)},
        "id": agent.id,
    }
    write("".join(f"{key.ljust(10)}  {escape(value)}\n" for key, value in lines.items()))


def _narrowed(narrowing: Narrowing) -> str:
    return f"by {narrowing.source}: {in_words(narrowing)}"


def _can_do(agent: AgentInfo) -> str:
    """Its words, without the hundred counters: ``-o json`` has them."""
    counters = sum(word.startswith(_COUNTER) for word in agent.capabilities)
    words = sorted(word for word in agent.capabilities if not word.startswith(_COUNTER))
    return " ".join([*words, *([f"(and {counters} kernel counters)"] if counters else [])]) or "–"


async def add(name: str, address: str, site: str | None) -> None:
    """Dials it first: what does not answer, or answers as somebody else, does not enter the context."""
    context = required_context()
    entry = config.ListeningAgent(address, site)
    trial = replace(context, controller=None, agents={name: entry})
    async with connect.opened(trial) as mesh:
        agent = find(name, await mesh.agents())
        if agent.state is not AgentState.CONNECTED:
            raise _why_not(mesh, name) or Unreachable(
                f"the agent {name} does not answer at {address}", "is it run with --listen there?"
            )
    settings = load_config()
    agents = {**context.agents, name: entry}
    config.save(settings.with_context(replace(context, agents=agents), use=False))
    done = "changed in" if name in context.agents else "added to"
    say(f"agent {name} at {address} is {done} context {context.name} in {settings.path}")
    if context.controller is not None:
        note(
            f"note: while its controller {context.controller} is used, agents are not dialled from here;"
            " when it is away, they are"
        )


def _why_not(mesh: Mesh, name: str) -> MeshError | None:
    from probemesh_controller.local import LocalMesh

    return mesh.why_not(name) if isinstance(mesh, LocalMesh) else None


def forget_controller() -> None:
    """From now on the agents of the context in force are dialled from here."""
    context = required_context()
    if context.controller is None:
        raise InvalidRequest(f"the context {context.name} has no controller", "meshctl context show")
    settings = load_config()
    config.save(settings.with_context(replace(context, controller=None), use=False))
    say(f"context {context.name} in {settings.path} no longer asks the controller {context.controller}")
    if not context.agents:
        note("note: it has no listening agents either: meshctl agents add NAME HOST:PORT")


async def label(name: str, texts: Sequence[str], site: str | None) -> None:
    wanted = dict(parse_label(text) for text in texts if not text.endswith("-"))
    remove = tuple(check_name(text[:-1], "label key") for text in texts if text.endswith("-"))
    if not texts and site is None:
        raise InvalidRequest("nothing to change", "give KEY=VALUE, KEY- or --site NAME")
    place = check_name(site, "site") if site else None
    async with connect.opened(connect.controlled(required_context())) as mesh:
        agent = await mesh.label_agent(name, wanted, remove, place)
    said = " ".join(f"{key}={value}" for key, value in sorted(agent.labels.items())) or "no labels"
    say(f"agent {agent.name} now has site {agent.site or '–'} and {escape(said)}")


async def revoke(name: str) -> None:
    async with connect.opened(connect.controlled(required_context())) as mesh:
        agent = await mesh.revoke_agent(name)
    say(f"agent {agent.name} is revoked: its certificate is void, and it is cut off")
