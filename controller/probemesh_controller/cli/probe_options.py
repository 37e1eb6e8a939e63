"""The options of ``meshctl probe``, as annotated types."""

from typing import Annotated

import typer

from probemesh_controller.cli import complete
from probemesh_controller.cli.output import Format

Targets = Annotated[list[str], typer.Argument(metavar="TARGET...", autocompletion=complete.targets)]
From = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="SELECTOR", help="From where  [all,self]", autocompletion=complete.selectors
    ),
]
Exclude = Annotated[
    str | None,
    typer.Option(metavar="SELECTOR", help="Leave these out, last of all", autocompletion=complete.selectors),
]
Limit = Annotated[int | None, typer.Option(metavar="N", help="At most N agents, spread over sites")]
Kinds = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        "-k",
        metavar="K",
        help="icmp, dns, tcp, udp, tls, http, trace or mtu, in place of the ladder; may be repeated",
        autocompletion=complete.kinds,
    ),
]
ModuleName = Annotated[
    str | None,
    typer.Option(
        "--module",
        metavar="NAME",
        help="Options saved under a name; others here win: meshctl modules",
        autocompletion=complete.modules,
    ),
]
Count = Annotated[int, typer.Option("--count", "-c", metavar="N", help="Samples", show_default=True)]
Interval = Annotated[float, typer.Option(metavar="S", help="Seconds between samples", show_default=True)]
Timeout = Annotated[float, typer.Option(metavar="S", help="Seconds an attempt", show_default=True)]
Deadline = Annotated[float | None, typer.Option(metavar="S", help="Seconds for all of it  [15]")]
Ipv4 = Annotated[bool, typer.Option("-4", help="IPv4 only")]
Ipv6 = Annotated[bool, typer.Option("-6", help="IPv6 only")]
Source = Annotated[str | None, typer.Option(metavar="ADDR|IFACE", help="Send from this address or interface")]
Dscp = Annotated[int | None, typer.Option(metavar="0-63", help="DSCP of what is sent")]
Ttl = Annotated[int | None, typer.Option(metavar="1-255", help="TTL or hop limit")]
Size = Annotated[
    str | None, typer.Option(metavar="BYTES", help="icmp, udp: payload size; icmp: several, 56,1000-1500:100")
]
DontFragment = Annotated[bool, typer.Option("--dont-fragment", help="icmp, udp: set DF")]
# udp
Request = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="udp: ready-made: dns, ntp, stun, snmp, snmp3, sip, quic or none (empty)  [by port]",
    ),
]
# tcp
Send = Annotated[
    str | None,
    typer.Option(metavar="TEXT|hex:…|@FILE", help="tcp: send this and wait for an answer (--expect answer=)"),
]
Banner = Annotated[bool, typer.Option("--banner", help="tcp: wait for what the server says first")]
HalfClose = Annotated[
    bool, typer.Option("--half-close", help="tcp: send FIN and see what the peer makes of it")
]
SourcePort = Annotated[
    str | None, typer.Option(metavar="FIRST[-LAST]", help="tcp, udp: source ports, taken in turn")
]
Payload = Annotated[str | None, typer.Option(metavar="TEXT|hex:…|@FILE", help="udp: what to send")]
# dns
Server = Annotated[
    str | None,
    typer.Option(metavar="HOST[:PORT]|URL", help="dns: name server; an https:// URL asks by doh"),
]
RecordType = Annotated[str | None, typer.Option("--type", metavar="TYPE", help="dns: record type")]
Transport = Annotated[str | None, typer.Option(metavar="udp|tcp|dot|doh", help="dns: transport")]
ServerName = Annotated[
    str | None, typer.Option(metavar="NAME", help="dns by dot or doh: name that the certificate must be for")
]
EdnsSize = Annotated[
    int | None, typer.Option(metavar="BYTES", help="dns: datagram size told by EDNS; 0: no EDNS  [1232]")
]
Dnssec = Annotated[bool, typer.Option("--dnssec", help="dns: ask for signatures (DO), tell what came")]
NoRecurse = Annotated[bool, typer.Option("--no-recurse", help="dns: only what the server itself has (RD=0)")]
Cd = Annotated[bool, typer.Option("--cd", help="dns: checking disabled, as without DNSSEC validation")]
AllServers = Annotated[
    bool, typer.Option("--all-servers", help="dns: ask every server of the zone, and compare")
]
# tls
Starttls = Annotated[
    str | None,
    typer.Option(
        "--starttls",
        metavar="PROTO",
        help="tls: ask in the clear first: smtp, imap, pop3, ftp, ldap, postgres, mysql or auto (by port)",
    ),
]
Sni = Annotated[str | None, typer.Option(metavar="NAME", help="tls, http: name to ask for and verify")]
TlsMin = Annotated[
    str | None, typer.Option("--tls-min", metavar="VERSION", help="tls: TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3")
]
TlsMax = Annotated[
    str | None, typer.Option("--tls-max", metavar="VERSION", help="tls: TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3")
]
Ciphers = Annotated[
    str | None, typer.Option(metavar="LIST", help="tls: OpenSSL's cipher list, for TLS 1.2 and before")
]
Alpn = Annotated[str | None, typer.Option(metavar="P,P", help="tls: protocols to offer  [h2,http/1.1]")]
Ca = Annotated[
    str | None,
    typer.Option("--ca", metavar="FILE", help="tls, http, dot, doh: judge by these authorities (PEM) alone"),
]
ClientCert = Annotated[
    str | None, typer.Option("--client-cert", metavar="FILE", help="tls, http: certificate to show (PEM)")
]
ClientKey = Annotated[
    str | None, typer.Option("--client-key", metavar="FILE", help="tls, http: its key (PEM, not encrypted)")
]
Enumerate = Annotated[
    bool, typer.Option("--enumerate", help="tls: all versions and ciphers taken; a connection for each")
]
Ocsp = Annotated[bool, typer.Option("--ocsp", help="tls: look at the stapled OCSP response too")]
# http
Method = Annotated[str | None, typer.Option(metavar="METHOD", help="http: request method  [GET]")]
Headers = Annotated[list[str] | None, typer.Option(metavar="'N: V'", help="http: header; may be repeated")]
HttpVersion = Annotated[
    str | None, typer.Option("--http-version", metavar="auto|1.1|2", help="http: version to speak  [auto]")
]
Data = Annotated[
    str | None,
    typer.Option(metavar="TEXT|hex:…|@FILE", help="http: body to send  [by POST]"),
]
AuthBasic = Annotated[
    str | None,
    typer.Option("--auth-basic", metavar="FILE", help="http: file with user:password, or -"),
]
AuthBearer = Annotated[
    str | None, typer.Option("--auth-bearer", metavar="FILE", help="http: file with a token, or -")
]
Follow = Annotated[bool, typer.Option("--follow", help="http: follow redirects, each judged by policy")]
MaxRedirects = Annotated[
    int | None, typer.Option("--max-redirects", metavar="1-20", help="http: follow at most so many  [10]")
]
Proxy = Annotated[
    str | None,
    typer.Option(metavar="http://HOST:PORT", help="http: go by this proxy, and no other"),
]
ProxyAuth = Annotated[
    str | None, typer.Option("--proxy-auth", metavar="FILE", help="http: user:password for the proxy")
]
Range = Annotated[str | None, typer.Option("--range", metavar="0-1023", help="http: these bytes only")]
IfNoneMatch = Annotated[
    str | None,
    typer.Option("--if-none-match", metavar="ETAG", help="http: ask unless it still has ETAG"),
]
IfModifiedSince = Annotated[
    str | None, typer.Option("--if-modified-since", metavar="DATE", help="http: ask if changed since")
]
# what is expected
Expect = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="What the answer must be like; may be repeated: meshctl help expectations",
        autocompletion=complete.expectations,
    ),
]
ExpectStatus = Annotated[
    str | None, typer.Option(metavar="200,301-308", help="http: the same as --expect status=  [200-399]")
]
ExpectBody = Annotated[str | None, typer.Option(metavar="TEXT", help="http: the same as --expect body=")]
ExpectFail = Annotated[
    bool, typer.Option("--expect-fail", help="It must not be reached: who does has failed")
]
# what is done with the results
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Again and again, until Ctrl-C")]
UntilOption = Annotated[
    str | None,
    typer.Option(
        "--until",
        metavar="reachable|unreachable",
        help="Again and again, until everybody reaches it, or nobody does",
        autocompletion=complete.until,
    ),
]
Every = Annotated[
    float | None, typer.Option(metavar="S", help="--watch, --until: seconds from round to round  [5]")
]
RoundsOption = Annotated[
    int | None, typer.Option("--rounds", metavar="N", help="--watch: end after N rounds")
]
Hold = Annotated[int | None, typer.Option("--for", metavar="N", help="--until: for N rounds in a row  [1]")]
Within = Annotated[
    float | None, typer.Option(metavar="S", help="--until: give up after S seconds, exit 1 or 3  [300]")
]
Share = Annotated[
    bool, typer.Option("--share", help="Print a text to paste into a ticket; nothing is sent anywhere")
]
NoTrace = Annotated[
    bool, typer.Option("--no-trace", help="Where it fails: do not look afterwards at which hop")
]
Yes = Annotated[bool, typer.Option("--yes", help="Begin without asking, however much it comes to")]
Strict = Annotated[bool, typer.Option("--strict", help="A certificate that does not verify is a failure")]
Output = Annotated[
    Format, typer.Option("--output", "-o", metavar="FORMAT", help="table, wide, json, jsonl, csv or yaml")
]
Ci = Annotated[bool, typer.Option("--ci", help="No live redraw, no colour  [CI]")]
