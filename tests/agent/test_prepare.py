"""Loading is over before the first packet, and does not hold the loop that other jobs measure on."""

import asyncio
import importlib.abc
import importlib.machinery
import subprocess
import sys
import threading
import types
from collections.abc import Iterator, Sequence

import pytest
from agent_tests_fakes import FakeLane, FakeNetwork, FakeProbe
from probemesh_agent import climb
from probemesh_agent.prepare import Preparation
from probemesh_agent.probes.registry import Registry
from probemesh_agent.runner import Runner
from probemesh_shared.clock import SystemClock
from probemesh_shared.model import DnsSpec, HttpSpec, Job, Options
from probemesh_shared.targets import parse_target
from probemesh_shared.words import DnsTransport, Kind

MODULE = "probemesh_agent.probes.slow"


class SlowLoader(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """A kind whose module takes until somebody sets ``gate``: for ever, if it is the loop that imports it."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.told: list[str] = []

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self) if name == MODULE else None

    def exec_module(self, module: types.ModuleType) -> None:
        assert self.gate.wait(10), "the loop stood still meanwhile"
        self.told.append("loaded")
        told = self.told

        class SlowProbe(FakeProbe):
            def __init__(self) -> None:
                super().__init__(Kind.HTTP)

            def prepare(self, secure: bool) -> None:
                told.append(f"prepared, secure {secure}")

            def run(self, *given: object) -> object:
                told.append("measuring")
                return super().run(*given)

        module.SlowProbe = SlowProbe  # type: ignore[attr-defined]


@pytest.fixture
def slow() -> Iterator[SlowLoader]:
    loader = SlowLoader()
    sys.meta_path.insert(0, loader)
    yield loader
    sys.meta_path.remove(loader)
    sys.modules.pop(MODULE, None)


async def test_a_kind_that_loads_slowly_measures_only_when_it_has_loaded(slow: SlowLoader) -> None:
    registry = Registry({Kind.HTTP: ("slow", "SlowProbe")})
    runner = Runner(registry, FakeNetwork(), SystemClock(), prepare=Preparation(registry))
    lane = FakeLane()
    runner.start(Job("one", "run", HttpSpec(Options()), (parse_target("https://192.0.2.1/"),), 10_000), lane)
    for _ in range(20):
        await asyncio.sleep(0)
    assert slow.told == []  # it is loading, and the loop turns
    slow.gate.set()
    await runner.finish(10, "test")
    assert slow.told == ["loaded", "prepared, secure True", "measuring"]
    assert [status for _, status, _ in lane.ends] == ["done"]


@pytest.mark.parametrize(
    ("target", "above"),
    [
        ("192.0.2.1", set()),
        ("192.0.2.1:443", {(Kind.TLS, True), (Kind.HTTP, True)}),
        ("192.0.2.1:8080", {(Kind.HTTP, False)}),
        ("192.0.2.1:5432", {(Kind.TLS, True)}),
        ("192.0.2.1:4321", {(Kind.HTTP, False)}),  # it may greet so
        ("192.0.2.1:3306", set()),
        ("https://192.0.2.1/", {(Kind.TLS, True), (Kind.HTTP, True)}),
        ("192.0.2.1:22,80", set()),
        ("tcp://192.0.2.1:443", set()),
    ],
)
def test_what_a_climb_may_come_to(target: str, above: set[tuple[Kind, bool]]) -> None:
    found = climb.needed(parse_target(target))
    assert {need for need in found if need[0] not in (Kind.ICMP, Kind.TCP)} == above


def test_after_preparing_a_climb_imports_nothing() -> None:
    program = (
        "import sys\n"
        "from probemesh_agent.prepare import Preparation\n"
        "call, seen = Preparation.__call__, []\n"
        "async def spied(self, *given):\n"
        "    await call(self, *given)\n"
        "    seen[:] = sys.modules\n"
        "Preparation.__call__ = spied\n"
        "from probemesh_agent.main import main\n"
        "main(['probe', '-4', '--count', '1', '--timeout', '0.2', 'http://127.0.0.1:1/', '-o', 'json'])\n"
        "late = {name for name in set(sys.modules) - set(seen) if not name.startswith('probemesh_shared')}\n"
        "print('LATE', *late)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    late = set(done.stdout.splitlines()[-1].split()[1:])
    assert not {name for name in late if name.startswith(("h11", "dns", "probemesh_agent.probes", "ssl"))}
    assert not {name for name in late if name.startswith("probemesh_agent.engine")}


@pytest.mark.parametrize("transport", [DnsTransport.DOT, DnsTransport.DOH])
async def test_questions_over_tls_load_what_they_need_ahead(transport: DnsTransport) -> None:
    told: list[bool] = []

    class Told(FakeProbe):
        def prepare(self, secure: bool) -> None:
            told.append(secure)

    preparation = Preparation({Kind.DNS: Told(Kind.DNS)})
    target = parse_target("dns:a.example@192.0.2.53")
    await preparation(Kind.DNS, DnsSpec(), [target])
    await preparation(Kind.DNS, DnsSpec(transport=transport), [target])
    await preparation(Kind.DNS, DnsSpec(transport=transport), [target])
    assert told == [False, True], "once for each of the two"


def test_after_preparing_dns_over_https_nothing_is_imported() -> None:
    code = """
import sys
from probemesh_agent.probes.registry import Registry
from probemesh_shared.words import DnsTransport, Kind
probe = Registry()[Kind.DNS]
probe.prepare(False)
assert not {"h11", "h2"} & set(sys.modules)
probe.prepare(True)
assert {"h11", "h2"} <= set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
