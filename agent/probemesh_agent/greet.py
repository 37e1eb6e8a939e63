"""What an open port says by itself: banners, MySQL's greeting, PostgreSQL's answer to an SSLRequest.

Nothing is sent but the SSLRequest, and every connection closes with FIN. What a server does not say breaks no
rung.
"""

from dataclasses import replace

from probemesh_shared.failures import outcome_of
from probemesh_shared.model import Measurement, Options, Sample, Target, TcpDetail, TlsDetail
from probemesh_shared.portstate import tcp_state
from probemesh_shared.words import Kind, Outcome, StartTls, Timing

from probemesh_agent.env import Address, ProbeEnv, ProbeFailed, ProbeLog, Stream
from probemesh_agent.porttable import Manner, protocol_of
from probemesh_agent.probes.starttls import upgrade

#: How long a server of an unknown port may take to speak, and one that is known to.
QUIET_S = 0.5
GREETING_S = 3.0
BANNER_LIMIT = 256


async def listen(
    env: ProbeEnv, options: Options, address: Address, row: Measurement, manner: Manner
) -> Measurement:
    """``row`` (an open port) with the banner that came unasked, if one did."""
    detail = row.detail if isinstance(row.detail, TcpDetail) else TcpDetail()
    if detail.banner is not None or row.port is None:
        return row
    wait = GREETING_S if manner is Manner.SPEAKS_FIRST else QUIET_S
    try:
        stream = await env.network.connect(address, row.port, options, _until(env, options.timeout_s))
    except ProbeFailed as failed:
        return _noted(row, f"a further connection, to read the greeting, failed: {failed.failure.detail}")
    try:
        banner = await stream.read(BANNER_LIMIT, _until(env, min(wait, options.timeout_s)))
    except ProbeFailed as failed:
        if manner is Manner.SPEAKS_FIRST:
            row = _noted(
                row, f"servers on port {row.port} speak first, this one did not: {failed.failure.detail}"
            )
        return row
    finally:
        await stream.close()
    return _with_banner(row, detail, banner)


async def connect_once(
    env: ProbeEnv, options: Options, index: int, target: Target, address: Address
) -> Measurement:
    """One connection, one sample, and the greeting: for servers that lock out who connects and leaves."""
    port, started_ns, began = target.ports[0].first, env.clock.wall_ns(), env.clock.monotonic()
    row = Measurement(Kind.TCP, index, target.text, address.host, port, Outcome.OK, started_ns)
    note = f"port {port}: connected once only, its servers lock out clients that connect and leave"
    try:
        stream = await env.network.connect(address, port, options, _until(env, options.timeout_s))
    except ProbeFailed as failed:
        outcome = outcome_of(failed.failure)
        lost = Sample(0, 0.0, None, outcome, failed.failure)
        state, reason = tcp_state(failed.failure)
        told = TcpDetail(state=state, reason=reason)
        return replace(
            row, outcome=outcome, samples=(lost,), failure=failed.failure, detail=told, log=(note,)
        )
    facts = stream.facts
    rtt = facts.connect_ms
    sample = Sample(0, 0.0, rtt, Outcome.OK, timing=Timing.TCP_INFO, syn_retransmits=facts.syn_retransmits)
    if rtt is None:
        sample = replace(sample, timing=None)
    state, reason = tcp_state(None)
    detail = TcpDetail(
        local_address=facts.local_address, local_port=facts.local_port, state=state, reason=reason
    )
    row = replace(row, samples=(sample,), detail=detail, log=(note,))
    try:
        banner = await stream.read(BANNER_LIMIT, _until(env, min(GREETING_S, options.timeout_s)))
    except ProbeFailed as failed:
        waited_ms = (env.clock.monotonic() - began) * 1000
        return _noted(row, f"no greeting in {waited_ms:.0f} ms: {failed.failure.detail}")
    finally:
        await stream.close()
    return _with_banner(row, detail, banner)


async def postgres(
    env: ProbeEnv, options: Options, target: Target, address: Address, row: Measurement
) -> tuple[Measurement, ...]:
    """``row`` (an open port) and, where the server says that it speaks TLS, the handshake's measurement."""
    port = target.ports[0].first
    try:
        stream = await env.network.connect(address, port, options, _until(env, options.timeout_s))
    except ProbeFailed as failed:
        return (_noted(row, f"a further connection, for an SSLRequest, failed: {failed.failure.detail}"),)
    try:
        log, until = ProbeLog(), _until(env, min(GREETING_S, options.timeout_s))
        await upgrade(stream, StartTls.POSTGRES, until, log)
        return row, await _handshake(env, options, target, row, stream)
    except ProbeFailed as failed:
        said = failed.failure.detail
        return (_noted(row, said if said.startswith("SSLRequest") else f"SSLRequest: {said}"),)
    finally:
        await stream.close()


async def _handshake(
    env: ProbeEnv, options: Options, target: Target, row: Measurement, stream: Stream
) -> Measurement:
    """The tls row over a stream that has agreed to TLS. The chain is shown, not judged: few clients do."""
    from probemesh_agent.probes.contexts import Contexts  # only where a handshake is made

    name = target.host if not _is_literal(target.host) else None
    tls = replace(row, kind=Kind.TLS, started_ns=env.clock.wall_ns(), log=("after a PostgreSQL SSLRequest",))
    detail = TlsDetail(server_name=name, tcp_ms=stream.facts.connect_ms)
    try:
        facts = await stream.start_tls(Contexts(()).get(judging=False), name, _until(env, options.timeout_s))
    except ProbeFailed as failed:
        outcome = outcome_of(failed.failure)
        lost = Sample(0, 0.0, None, outcome, failed.failure)
        return replace(tls, outcome=outcome, samples=(lost,), failure=failed.failure, detail=detail)
    sample = Sample(0, 0.0, facts.handshake_ms, Outcome.OK, timing=Timing.USER)
    detail = replace(
        detail,
        version=facts.version,
        cipher=facts.cipher,
        alpn=facts.alpn,
        chain=facts.chain,
        handshake_ms=facts.handshake_ms,
    )
    return replace(tls, samples=(sample,), detail=detail)


def _is_literal(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _with_banner(row: Measurement, detail: TcpDetail, banner: bytes) -> Measurement:
    if not banner:
        return _noted(row, "the server closed without a word")
    protocol = protocol_of(banner, row.port or 0)
    return replace(row, detail=replace(detail, banner=banner[:BANNER_LIMIT], banner_protocol=protocol))


def _noted(row: Measurement, line: str) -> Measurement:
    return replace(row, log=(*row.log, line))


def _until(env: ProbeEnv, seconds: float) -> float:
    return min(env.deadline, env.clock.monotonic() + seconds)
