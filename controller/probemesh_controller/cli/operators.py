"""What ``meshctl operator list`` and ``revoke`` do, and how they say it."""

import sys
import time
from collections.abc import Sequence
from typing import cast

from probemesh_shared.escape import escape
from probemesh_shared.jsontrust import OperatorJson, OperatorsJson
from probemesh_shared.moments import time_text

from probemesh_controller.api import OperatorInfo
from probemesh_controller.cli import connect
from probemesh_controller.cli.flags import note, required_context, say, use_color
from probemesh_controller.cli.output import Format, print_value, terminal_width, write
from probemesh_controller.render.text import Cell, columns

_STYLES = {"active": ("✓", "good"), "away": ("–", "dim"), "expired": ("✕", "bad"), "revoked": ("✕", "dim")}


async def all_operators() -> tuple[OperatorInfo, ...]:
    async with connect.administration(required_context()) as mesh:
        return await mesh.operators()


async def revoke(name: str) -> None:
    async with connect.administration(required_context()) as mesh:
        gone = await mesh.revoke_operator(name)
    say(f"{gone.role} {gone.name} is revoked: its certificates are void, and what it had running has ended")
    note("agents that are dialled directly learn of it while they are connected to the controller")


async def renew_own() -> None:
    from probemesh_controller.renewing import renew

    connect.forget_proxies()
    context = required_context()
    identity = await renew(context.identity, context.controller, force=True)
    until = _minute(identity.not_after_ns)
    say(f"{identity.role} {identity.name} has a new key and certificate, until {until}")


def state_of(operator: OperatorInfo, now_ns: int) -> str:
    """``away``: nothing valid in hand, but it can come back without a token."""
    if operator.revoked:
        return "revoked"
    if operator.connected or (operator.valid_until_ns or 0) > now_ns:
        return "active"
    return "away" if (operator.renewable_until_ns or 0) > now_ns else "expired"


def print_operators(operators: Sequence[OperatorInfo], wanted: Format) -> None:
    now_ns = time.time_ns()
    if wanted in (Format.TABLE, Format.WIDE):
        write(operators_table(operators, now_ns))
        return
    value: OperatorsJson = {"schema": 1, "operators": [_json(one, now_ns) for one in operators]}
    if wanted is Format.JSONL:
        for one in value["operators"]:
            print_value(one, wanted)
    else:
        print_value(value, wanted)


def operators_table(operators: Sequence[OperatorInfo], now_ns: int) -> str:
    header = ["NAME", "ROLE", "STATE", "CERTIFICATE UNTIL", "RENEWABLE UNTIL", "LET IN BY"]
    rows = [_row(one, now_ns) for one in operators]
    return "\n".join(columns(header, rows, terminal_width(), use_color(sys.stdout))) + "\n"


def _row(operator: OperatorInfo, now_ns: int) -> list[Cell]:
    state = state_of(operator, now_ns)
    sign, style = _STYLES[state]
    return [
        Cell(escape(operator.name, 80)),
        Cell(escape(operator.role, 20)),
        Cell(f"{sign} {state}", style),
        Cell(_minute(operator.valid_until_ns)),
        Cell(_minute(operator.renewable_until_ns)),
        Cell(escape(operator.created_by or "–", 80)),
    ]


def _minute(instant_ns: int | None) -> str:
    return "–" if instant_ns is None else f"{time_text(instant_ns)[:16]}Z"


def _json(operator: OperatorInfo, now_ns: int) -> OperatorJson:
    def at(instant_ns: int | None) -> str | None:
        return None if instant_ns is None else time_text(instant_ns)

    return cast(
        OperatorJson,
        {
            "name": operator.name,
            "role": operator.role,
            "state": state_of(operator, now_ns),
            "created_at": at(operator.created_ns),
            "created_by": operator.created_by,
            "renewed_at": at(operator.renewed_ns),
            "valid_until": at(operator.valid_until_ns),
            "renewable_until": at(operator.renewable_until_ns),
        },
    )
