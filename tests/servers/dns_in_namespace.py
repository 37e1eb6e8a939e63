"""Runs dns probes where it is started, and prints what they came to: a JSON list of rows for each argument.

An argument is a JSON object with ``name``, and ``type``, ``server`` and fields of the spec where they are
wanted."""

import asyncio
import json
import sys
from typing import Any

from probemesh_agent.env import ProbeEnv
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Policy
from probemesh_agent.probes.registry import Registry
from probemesh_shared.clock import SystemClock
from probemesh_shared.jsonout import result_to_json
from probemesh_shared.model import DnsSpec, Measurement, Options, Target, TargetResult, Vantage
from probemesh_shared.words import Family, Kind, Outcome


async def rows(asked: dict[str, Any]) -> list[Any]:
    clock = SystemClock()
    network = SystemNetwork(clock, Policy.typed_by_user())
    name, kind, server = asked.pop("name"), asked.pop("type", None), asked.pop("server", None)
    target = Target(f"dns:{name}", name, record_type=kind, server=server)
    family = Family(asked.pop("family", "both"))
    spec = DnsSpec(Options(count=1, timeout_s=2.0, family=family), **asked)
    found: list[Measurement] = []
    async for batch in Registry()[Kind.DNS].run(
        spec, [target], ProbeEnv(network, clock, clock.monotonic() + 20)
    ):
        found.extend(batch)
    result = TargetResult(target, 1, (Vantage("self", None, Outcome.OK, measurements=tuple(found)),))
    return list(result_to_json(result, lambda der: {})["vantages"][0]["measurements"])  # type: ignore


async def main() -> None:
    print(json.dumps([await rows(json.loads(argument)) for argument in sys.argv[1:]]))


asyncio.run(main())
