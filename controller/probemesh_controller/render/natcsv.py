"""``meshctl nat -o csv``: a row an agent, the keys of JSON; lists are joined by blanks. Pure."""

import csv
import io
from collections.abc import Sequence

from probemesh_shared.escape import csv_text
from probemesh_shared.jsonnat import nat_agent_to_json
from probemesh_shared.jsonshape import NatAgentJson
from probemesh_shared.nat import NatBehaviour

_COLUMNS = tuple(key for key in NatAgentJson.__annotations__ if key not in ("reflectors", "notes", "missing"))


def render(found: Sequence[NatBehaviour]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_COLUMNS, "reflectors"])
    for one in found:
        told: dict[str, object] = {**nat_agent_to_json(one)}
        cells = [_cell(told[key]) for key in _COLUMNS]
        writer.writerow([*cells, csv_text(" ".join(each.agent for each in one.reflectors))])
    return out.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return csv_text(" ".join(map(str, value)) if isinstance(value, list) else str(value))
