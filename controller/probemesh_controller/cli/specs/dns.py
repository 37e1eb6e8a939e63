"""Options of the kind ``dns``. Reads the file that ``--ca`` names; else pure."""

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.model import DnsSpec, Options, Target
from probemesh_shared.targets import check_record_type, check_server_family, parse_server, server_text
from probemesh_shared.words import DnsTransport, Family

from probemesh_controller.cli.specs.tls import authorities
from probemesh_controller.cli.specs.values import within

_SECURE = (DnsTransport.DOT, DnsTransport.DOH)


@dataclass(frozen=True, slots=True)
class DnsAsked:
    """As typed; None where an option was not given."""

    server: str | None = None
    record_type: str | None = None
    transport: str | None = None
    server_name: str | None = None
    edns_size: int | None = None
    dnssec: bool = False
    no_recurse: bool = False
    cd: bool = False
    all_servers: bool = False

    def given(self) -> dict[str, object]:
        return {
            "--server": self.server,
            "--type": self.record_type,
            "--transport": self.transport,
            "--server-name": self.server_name,
            "--edns-size": self.edns_size,
            "--dnssec": self.dnssec or None,
            "--no-recurse": self.no_recurse or None,
            "--cd": self.cd or None,
            "--all-servers": self.all_servers or None,
        }

    def spec(self, options: Options) -> DnsSpec:
        within("--edns-size", self.edns_size, 0, 65535)
        transport = self._transport()
        if self.dnssec and self.edns_size == 0:
            raise InvalidRequest("--dnssec needs EDNS, and --edns-size 0 is without", "leave one of them out")
        if self.all_servers and transport in _SECURE:
            raise InvalidRequest(
                f"the servers of a zone are not asked by {transport}", "--all-servers goes by udp or tcp"
            )
        if self.server_name:
            self.check_certified("--server-name is the name in")
        server, path = _server(self.server)
        return DnsSpec(
            options,
            record_type=check_record_type(self.record_type) if self.record_type else None,
            server=server,
            transport=transport,
            server_name=self.server_name,
            doh_path=path,
            edns_size=self.edns_size,
            dnssec=self.dnssec,
            no_recurse=self.no_recurse,
            checking_disabled=self.cd,
            all_servers=self.all_servers,
        )

    def check(self, target: Target, family: Family) -> None:
        """What the target says itself is asked; an option that says otherwise would be passed over in
        silence."""
        asked_type = check_record_type(self.record_type) if self.record_type else None
        _check_same(target, "--type", target.record_type, asked_type)
        server = _server(self.server)[0]
        _check_same(target, "--server", target.server, server)
        if not self.all_servers:  # there it only says which these are, in either family
            check_server_family(family, target.server or server)

    def check_certified(self, what: str) -> None:
        """Refuses what belongs to a certificate where none comes."""
        if self._transport() not in _SECURE:
            hint = "add --transport dot or --transport doh"
            raise InvalidRequest(f"{what} a certificate, and there is none", hint)

    def trusting(self, spec: DnsSpec, ca: str | None) -> DnsSpec:
        """``spec`` with whom it trusts, where it comes to that. Reads the file."""
        return spec if ca is None or spec.transport not in _SECURE else replace(spec, ca=authorities(ca))

    def _transport(self) -> DnsTransport:
        """A server that is a URL asks for doh."""
        url = self.server is not None and "://" in self.server
        word = self.transport or ("doh" if url else "udp")
        if word not in tuple(DnsTransport):
            hint = "udp, tcp, dot or doh"
            raise InvalidRequest(f"there is no DNS transport '{escape(word, 40)}'", hint)
        if url and word != DnsTransport.DOH:
            raise InvalidRequest(f"a server that is a URL is not asked by {word}", "leave --transport out")
        return DnsTransport(word)


def _check_same(target: Target, option: str, own: str | None, given: str | None) -> None:
    if own is not None and given is not None and own != given:
        what = (
            f"{target.text} asks {'for ' if option == '--type' else ''}{own}, and {option} {given} was given"
        )
        raise InvalidRequest(what, f"leave out {option}, or the one in the target")


def _server(text: str | None) -> tuple[str | None, str | None]:
    """(server, DoH path); the path is None where the server is no URL, or its URL has none."""
    if not text:
        return None, None
    scheme, separator, rest = text.partition("://")
    if not separator:
        return server_text(*parse_server(text)), None
    shown = escape(text, 80)
    if scheme.lower() != "https":
        raise InvalidRequest(f"the name server '{shown}' cannot be asked", "write https://HOST/dns-query")
    if "@" in rest.partition("/")[0]:
        raise InvalidRequest("the URL of a name server has no user name", "write https://HOST/dns-query")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidRequest(f"the URL '{shown}' has characters that no URL has")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise InvalidRequest(f"the URL '{shown}' cannot be read", "write https://HOST/dns-query") from None
    if parts.query or "{" in parts.path:
        raise InvalidRequest(f"the URL '{shown}' is asked by POST", "leave out the ? or { and what follows")
    return server_text(*parse_server(parts.netloc)), parts.path if parts.path not in ("", "/") else None
