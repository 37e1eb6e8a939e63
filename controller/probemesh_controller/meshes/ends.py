"""Whom a text of the file means: groups, selectors and TARGETs. Pure.

What has a colon is a TARGET, everything else a group or a selector: no selector has one, and a bare host is
written ``icmp:HOST``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.names import check_name, did_you_mean
from probemesh_shared.selectors import check_standing
from probemesh_shared.targets import count_ports, expand_ports, parse_target

from probemesh_controller.meshes.lines import Path
from probemesh_controller.meshes.model import End, Who
from probemesh_controller.meshes.table import Report, Table

MOST_PORTS = 64


@dataclass(frozen=True, slots=True)
class Reader:
    """``groups`` by name."""

    report: Report
    groups: Mapping[str, Who]

    def agents(self, table: Table, key: str) -> tuple[Who, ...]:
        """Of a key that takes agents only."""
        return tuple(who for text, path in table.texts(key) if (who := self.who(text, path)) is not None)

    def ends(self, table: Table, key: str) -> tuple[End, ...]:
        return tuple(end for text, path in table.texts(key) if (end := self.end(text, path)) is not None)

    def who(self, text: str, path: Path) -> Who | None:
        if ":" in text:
            hint = "TARGETs stand at the right of disjoint, and as the second of a pair"
            self.report.say(path, f"'{escape(text, 80)}' is a TARGET, and only agents can stand here", hint)
            return None
        line = self.report.lines.of(path)
        if (group := self.groups.get(text)) is not None:
            return replace(group, line=line)
        try:
            check_standing(text)
        except InvalidRequest as error:
            self.report.refused(path, error)
            return None
        return Who(text, text, line)

    def end(self, text: str, path: Path) -> End | None:
        line = self.report.lines.of(path)
        if ":" not in text:
            who = self.who(text, path)
            return None if who is None else End(who, line=line)
        try:
            target = parse_target(text)
        except InvalidRequest as error:
            self.report.refused(path, error)
            return None
        if count_ports(target.ports) > MOST_PORTS:
            self.report.say(path, f"{target.text} has too many ports", f"{MOST_PORTS} at most")
            return None
        if target.agent is None:
            return End(target=target, line=line)
        who = self.who(target.agent, path)
        return None if who is None else End(who, ports=expand_ports(target.ports), line=line)


def read_groups(report: Report, table: Table) -> dict[str, Who]:
    found: dict[str, Who] = {}
    for name, selector in table.mapping("groups").items():
        path = (*table.at("groups"), name)
        try:
            check_name(name, "group name")
            if not isinstance(selector, str):
                raise InvalidRequest(f"the group '{name}' must be a text", 'write a selector: "site=berlin"')
            check_standing(selector)
        except InvalidRequest as error:
            report.refused(path, error)
            continue
        found[name] = Who(name, selector, report.lines.of(path))
    for name, who in found.items():
        if who.selector in found and who.selector != name:
            hint = f"write what '{who.selector}' says: {found[who.selector].selector}"
            report.say((*table.at("groups"), name), f"the group '{name}' names another group", hint)
    return found


def nearest(name: str, known: Sequence[str]) -> str:
    return did_you_mean(name, known) or f"known: {', '.join(known) or 'none'}"
