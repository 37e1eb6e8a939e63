"""``mesh-agent run``: puts the parts together, and takes them apart again in order when told to stop."""

import asyncio
import logging
import os
import resource
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from probemesh_shared import logs
from probemesh_shared.clock import SystemClock
from probemesh_shared.errors import InvalidRequest, MeshError
from probemesh_shared.hangup import on_hangup
from probemesh_shared.identity.files import Identity
from probemesh_shared.identity.names import controller_dns
from probemesh_shared.names import join_host_port, split_host_port
from probemesh_shared.rpc.client import connect
from probemesh_shared.rpc.framestream import fleet_link
from probemesh_shared.session.driver import LinkEnd, Wake, Why
from probemesh_shared.session.frames import MIN_PROTOCOL, PROTOCOL, DenyList, Hello, RenewWanted
from probemesh_shared.words import AuditOutcome

from probemesh_agent import addresses, auditlog, capabilities, denied, enrol
from probemesh_agent.auditing import Recorder
from probemesh_agent.dial import Dialler
from probemesh_agent.kit import agent_policy, all_probes
from probemesh_agent.lanes import Lanes
from probemesh_agent.links import Links
from probemesh_agent.net.holder import ReloadingPolicy
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.sources import check_source
from probemesh_agent.notify import Notifier
from probemesh_agent.prepare import Preparation
from probemesh_agent.runner import Runner
from probemesh_agent.version import version

logger = logging.getLogger(__name__)

#: Parts of the ten seconds that a stop may take: jobs may end by themselves, then results are flushed.
FINISH_S, FLUSH_S = 3.0, 5.0
_LOOK_AT_POLICY_S = 5.0


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """What ``mesh-agent run`` was given."""

    state: Path
    listen: str | None = None
    advertise: tuple[str, ...] = ()
    source: str | None = None  # of probes that name none
    policy: Path | None = None
    proxy: str | None = None
    log_json: bool = False
    debug: bool = False


async def serve(options: ServiceOptions) -> int:
    """Until SIGTERM or SIGINT; then 0. Raises :class:`MeshError` where it cannot start."""
    logs.configure(as_json=options.log_json, debug=options.debug)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    service = Service(options)
    loop.add_signal_handler(signal.SIGHUP, on_hangup(service.reload, stop.set))
    await service.start()
    try:
        await service.run_until(stop)
    finally:
        await service.close()
    return 0


class Service:
    """One agent process."""

    def __init__(self, options: ServiceOptions) -> None:
        self._options = options
        self._notify = Notifier()
        self._clock = SystemClock()
        self._agent = enrol.load_agent(options.state)
        self._identity = self._agent.identity
        addresses.candidates(options.advertise)  # wrong use is told before anything is started
        if options.proxy is not None:
            use_proxy(options.proxy)
        self._audit = auditlog.open_log(options.state)
        self._recorder = Recorder(self._audit, self._clock.wall_ns)
        self._policy = agent_policy(options.policy)
        if isinstance(self._policy, ReloadingPolicy):
            self._policy.told = self._policy_read
        self._network = SystemNetwork(self._clock, self._policy, source=check_source(options.source))
        probes = all_probes()
        self._capabilities = capabilities.gather(probes, advertised=bool(options.advertise))
        self._runner = Runner(
            probes,
            self._network,
            self._clock,
            capabilities=self._capabilities,
            prepare=Preparation(probes),
            audit=self._audit,
        )
        self._lanes = Lanes(self._runner, self._clock)
        self._instance = os.urandom(8).hex()
        self._links = Links(self._runner, self._lanes, self._clock, self._hello, self._told)
        self._wanted = enrol.Wanted()
        self._dialler = Dialler(self._dial, self._clock)
        self._server: Any = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Listens, if so asked, and begins to dial. Whether the controller answers is not waited for."""
        _raise_descriptor_limit()
        if self._options.listen is not None:
            await self._listen(self._options.listen)
        self._task(self._dialler.run(), "dialler")
        renewal = enrol.keep_renewed(
            self._agent, self._renewed, self._clock, proxy=self._options.proxy, wanted=self._wanted
        )
        self._task(renewal, "renewal")
        if self._options.policy is not None:
            self._task(self._follow_policy(), "policy")
        if self._notify.watchdog_s is not None:
            self._task(self._watchdog(self._notify.watchdog_s), "watchdog")
        identity = self._identity
        logger.info(
            "agent %s of mesh %s, controller %s", identity.name, identity.mesh, self._agent.controller
        )
        self._recorder.tell("start", detail=f"{_software()} as {identity.name}")
        self._notify.ready(f"agent {identity.name}, dialling {self._agent.controller}")

    def reload(self) -> None:
        """Reads the policy file again; a bad one leaves the last good one in force."""
        self._policy.reload()

    def _policy_read(self, changed: bool, problem: str | None) -> None:
        """What began under another policy is ended: it was judged by what no longer holds."""
        outcome = AuditOutcome.OK if problem is None else AuditOutcome.REJECTED
        self._recorder.tell("policy-read", outcome, problem or self._policy.current.source)
        if changed and problem is None:
            self._runner.cancel_all("this host's policy has changed")

    async def _follow_policy(self) -> None:
        """A changed file is seen also while nothing is probed, or one long job is."""
        while True:
            await self._clock.sleep(_LOOK_AT_POLICY_S)
            _ = self._policy.current

    async def run_until(self, stop: asyncio.Event) -> None:
        """Returns when told to stop; raises what ended a standing task: a fault of ours."""
        waiting = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait({waiting, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in self._tasks:
                if task.done():
                    task.result()
        finally:
            waiting.cancel()

    async def close(self) -> None:
        """Goodbye to all, jobs ended, results flushed, at most ten seconds."""
        logger.info("stopping")
        self._notify.stopping()
        self._dialler.stop()
        self._runner.refuse_new()
        self._links.goodbye("the agent is shutting down")
        await self._runner.finish(FINISH_S if self._links.live else 0.0, "the agent is shutting down")
        if not await self._links.settle(FLUSH_S):
            logger.warning("results are lost: they were not acknowledged in time")
        for task in self._tasks:
            if task.get_name() != "dialler":
                task.cancel()
        self._links.close()
        await self._end_dialling()
        if self._server is not None:
            await self._server.stop(0.2)
        await self._lanes.close()
        self._network.close()
        self._recorder.tell("stop")
        await asyncio.to_thread(self._audit.close)
        logger.info("stopped")

    async def _end_dialling(self) -> None:
        """The link is given the time to say its last; an attempt or a pause is cut short."""
        if self._links.live:
            await self._links.wait_closed(1.5)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- parts --------------------------------------------------------------------------------------------

    def _task(self, running: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(running, name=name))

    def _hello(self) -> Hello:
        return Hello(
            protocol=PROTOCOL,
            min_protocol=MIN_PROTOCOL,
            software=_software(),
            instance=self._instance,
            name=self._identity.name,
            capabilities=capabilities.in_order(self._capabilities),
            addresses=addresses.candidates(self._options.advertise),
        )

    async def _listen(self, address: str) -> None:
        from probemesh_agent.listen import listen

        self._server, port = await listen(
            self._identity, self._links, address, denied.load(self._agent.folder), self._audit
        )
        host, _ = split_host_port(address)
        logger.info("listening on %s", join_host_port(host, port))

    async def _dial(self, wake: Wake, ready: Callable[[], None]) -> LinkEnd:
        identity, controller = self._identity, self._agent.controller
        session = auditlog.SessionRecord(self._recorder, identity.mesh, controller)

        def on_ready() -> None:
            session.started()
            self._notify.status(f"agent {identity.name}, connected to {self._agent.controller}")
            ready()

        try:
            connection = connect(
                self._agent.controller, identity, controller_dns(identity.mesh), self._options.proxy
            )
            stream = fleet_link(connection)
        except MeshError as error:
            return LinkEnd(Why.BROKEN, False, str(error), error=error)
        name = f"controller:{identity.mesh}"
        end = await self._links.serve(
            stream, name, wake, alone=True, caller=session.caller, on_ready=on_ready
        )
        session.ended(end)
        return end

    def _renewed(self, identity: Identity) -> None:
        self._identity = identity
        self._recorder.tell("renewed", detail=f"certificate {identity.serial}")
        if self._server is not None:
            self._server.reload(identity)
        self._dialler.redial()

    def _told(self, frame: RenewWanted | DenyList) -> None:
        """By our own controller."""
        if isinstance(frame, RenewWanted):
            self._wanted.ask(frame.within_ms / 1000)
            return
        self._recorder.tell("deny-list", detail=f"{len(frame.names)} operators, {len(frame.serials)} serials")
        try:
            kept = denied.save(self._agent.folder, frame)
        except OSError as error:
            logger.error("the list of operators to turn away is not kept: %s", error.strerror)
            kept = frame
        if self._server is not None:
            self._server.deny_operators(kept.names, kept.serials)

    async def _watchdog(self, every_s: float) -> None:
        while True:
            self._notify.alive()
            await self._clock.sleep(every_s)


def use_proxy(url: str) -> None:
    """Checks ``--proxy URL``; raises :class:`InvalidRequest`. ``no_proxy`` must not overrule it."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "http" and parts.hostname and parts.port
    except ValueError:
        usable = False
    if not usable:
        raise InvalidRequest("--proxy is not the URL of an HTTP proxy", "write http://HOST:PORT")
    if parts.username is not None or parts.password is not None:
        raise InvalidRequest("--proxy with a password would show in the list of processes", "leave it out")
    os.environ["no_grpc_proxy"] = ""  # noqa: SIM112 - C-core's own spelling, which it prefers


def _software() -> str:
    return f"probemesh {version()}"


def _raise_descriptor_limit() -> None:
    """As many descriptors as the host's owner allows: a scan takes thousands."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            logger.debug("the limit of descriptors stays at %d", soft)
