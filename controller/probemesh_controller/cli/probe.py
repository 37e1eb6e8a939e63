"""``meshctl probe``: who reaches a target, from where, how fast, and which rung fails."""

import sys

import typer

from probemesh_controller.cli import probe_options as options
from probemesh_controller.cli.lazy import MeshCommand, help_text
from probemesh_controller.cli.output import Format

EXAMPLES = [
    ("meshctl probe db.internal:5432", "from every agent, and from here"),
    ("meshctl probe https://example.org/ --from site=berlin", "name, ping, connect, TLS and HTTP"),
    ("meshctl probe web:22,80,8000-8100 --from all --limit 4", "a scan, from one agent of each site in turn"),
    ("meshctl probe dns:example.org/MX@192.0.2.53", "ask one name server"),
    ("meshctl probe agent:tokyo-1:22 --exclude self", "one agent from all the others"),
    ("meshctl probe https://web/ --expect status=200 --expect rtt-max=20ms", "what the answer must be like"),
    ("meshctl probe db:5432 --from site=dmz --expect-fail", "what must not be reached"),
    ("meshctl probe https://shop/ --module http_2xx", "as saved under a name: meshctl modules"),
    ("meshctl probe udp://ntp.internal:123 --payload hex:1b00 -o json", "for scripts"),
    ("meshctl probe @last --from failed", "the last run's targets, from where they failed"),
    ("meshctl probe db.internal:5432 --until reachable", "wait for it, in a deploy script"),
]
MORE = """TARGET is HOST, HOST:PORT, [IPV6]:PORT, HOST:22,80,8000-8100, tcp://, udp://, http(s)://,
dns:NAME[/TYPE][@SERVER], icmp:HOST, agent:NAME[:PORT], or @last: those of the last run. A SELECTOR joins
names, globs, site=NAME, LABEL=VALUE, all, self, @last (who took part in the last run) and failed (who failed
in it) by ',' (or) and '+' (and). The exit code is 0 where everybody reached it, 3 where
some did, 1 where nobody did, 4 where nothing could be measured: meshctl help exit-codes."""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(cls=MeshCommand, help=help_text("Ask many vantage points at once for TARGET.", EXAMPLES, MORE))
def probe(
    context: typer.Context,
    target: options.Targets,
    module: options.ModuleName = None,
    from_: options.From = None,
    exclude: options.Exclude = None,
    limit: options.Limit = None,
    kind: options.Kinds = None,
    count: options.Count = 3,
    interval: options.Interval = 0.2,
    timeout: options.Timeout = 3.0,
    deadline: options.Deadline = None,
    ipv4: options.Ipv4 = False,
    ipv6: options.Ipv6 = False,
    source: options.Source = None,
    dscp: options.Dscp = None,
    ttl: options.Ttl = None,
    size: options.Size = None,
    dont_fragment: options.DontFragment = False,
    # udp
    payload: options.Payload = None,
    request: options.Request = None,
    # tcp
    send: options.Send = None,
    banner: options.Banner = False,
    half_close: options.HalfClose = False,
    source_port: options.SourcePort = None,
    # dns
    server: options.Server = None,
    record_type: options.RecordType = None,
    transport: options.Transport = None,
    server_name: options.ServerName = None,
    edns_size: options.EdnsSize = None,
    dnssec: options.Dnssec = False,
    no_recurse: options.NoRecurse = False,
    cd: options.Cd = False,
    all_servers: options.AllServers = False,
    # tls
    sni: options.Sni = None,
    starttls: options.Starttls = None,
    tls_min: options.TlsMin = None,
    tls_max: options.TlsMax = None,
    ciphers: options.Ciphers = None,
    alpn: options.Alpn = None,
    ca: options.Ca = None,
    client_cert: options.ClientCert = None,
    client_key: options.ClientKey = None,
    enumerate_: options.Enumerate = False,
    ocsp: options.Ocsp = False,
    # http
    method: options.Method = None,
    header: options.Headers = None,
    http_version: options.HttpVersion = None,
    data: options.Data = None,
    auth_basic: options.AuthBasic = None,
    auth_bearer: options.AuthBearer = None,
    follow: options.Follow = False,
    max_redirects: options.MaxRedirects = None,
    proxy: options.Proxy = None,
    proxy_auth: options.ProxyAuth = None,
    range_: options.Range = None,
    if_none_match: options.IfNoneMatch = None,
    if_modified_since: options.IfModifiedSince = None,
    # what is expected
    expect: options.Expect = None,
    expect_status: options.ExpectStatus = None,
    expect_body: options.ExpectBody = None,
    expect_fail: options.ExpectFail = False,
    # again and again
    watch: options.Watch = False,
    until: options.UntilOption = None,
    every: options.Every = None,
    rounds: options.RoundsOption = None,
    for_: options.Hold = None,
    within: options.Within = None,
    # what is done with the results
    no_trace: options.NoTrace = False,
    share: options.Share = False,
    yes: options.Yes = False,
    strict: options.Strict = False,
    output: options.Output = Format.TABLE,
    ci: options.Ci = False,
) -> int:
    import asyncio

    from probemesh_controller.selfprocess import ahead

    async def run() -> int:
        from probemesh_controller.cli.again import Again
        from probemesh_controller.cli.probing import ProbeAsked, run_probe, with_module
        from probemesh_controller.cli.specs import (
            Asked,
            DnsAsked,
            HttpAsked,
            IcmpAsked,
            TcpAsked,
            TlsAsked,
            UdpAsked,
        )

        asked = Asked(
            kinds=kind or (),
            count=count,
            interval=interval,
            timeout=timeout,
            ipv4=ipv4,
            ipv6=ipv6,
            source=source,
            dscp=dscp,
            ttl=ttl,
            size=size,
            dont_fragment=dont_fragment,
            source_port=source_port,
            expect=expect or (),
            expect_status=expect_status,
            expect_body=expect_body,
            expect_fail=expect_fail,
            icmp=IcmpAsked(),
            dns=DnsAsked(
                server=server,
                record_type=record_type,
                transport=transport,
                server_name=server_name,
                edns_size=edns_size,
                dnssec=dnssec,
                no_recurse=no_recurse,
                cd=cd,
                all_servers=all_servers,
            ),
            tcp=TcpAsked(send=send, banner=banner, half_close=half_close),
            udp=UdpAsked(payload=payload, request=request),
            tls=TlsAsked(
                sni=sni,
                starttls=starttls,
                tls_min=tls_min,
                tls_max=tls_max,
                ciphers=ciphers,
                alpn=alpn,
                ca=ca,
                client_cert=client_cert,
                client_key=client_key,
                enumerate=enumerate_,
                ocsp=ocsp,
            ),
            http=HttpAsked(
                method=method,
                headers=header or (),
                http_version=http_version,
                data=data,
                auth_basic=auth_basic,
                auth_bearer=auth_bearer,
                follow=follow,
                max_redirects=max_redirects,
                proxy=proxy,
                proxy_auth=proxy_auth,
                range=range_,
                if_none_match=if_none_match,
                if_modified_since=if_modified_since,
            ),
        )
        again = Again(watch, until, every, rounds, for_, within)
        wanted = ProbeAsked(
            tuple(target),
            asked,
            from_,
            exclude,
            limit,
            deadline,
            strict,
            output,
            ci,
            again,
            share,
            no_trace=no_trace,
            yes=yes,
        )
        return await run_probe(wanted if module is None else with_module(wanted, module, _typed(context)))

    async def beside_self() -> int:
        async with ahead(_may_want_self(from_, exclude)):
            return await run()

    return asyncio.run(beside_self())


def _typed(context: typer.Context) -> frozenset[str]:
    """The options that stand on the command line, in every spelling of theirs: they win over a module's."""
    found: set[str] = set()
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            found.update(parameter.opts)
    return frozenset(found)


def _may_want_self(from_: str | None, exclude: str | None) -> bool:
    """Before anything is read properly: a process started for nothing is no harm."""
    return sys.platform.startswith("linux") and "self" in (from_ or "self") and "self" not in (exclude or "")
