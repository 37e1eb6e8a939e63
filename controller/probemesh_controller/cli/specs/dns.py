"""Options of the kind ``dns``. Pure."""

from dataclasses import dataclass

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.model import DnsSpec, Options
from probemesh_shared.targets import check_record_type, parse_server, server_text
from probemesh_shared.words import DnsTransport


@dataclass(frozen=True, slots=True)
class DnsAsked:
    """As typed; None where an option was not given."""

    server: str | None = None
    record_type: str | None = None
    transport: str | None = None

    def given(self) -> dict[str, object]:
        return {"--server": self.server, "--type": self.record_type, "--transport": self.transport}

    def spec(self, options: Options) -> DnsSpec:
        transport = self.transport or "udp"
        if transport not in tuple(DnsTransport):
            raise InvalidRequest(f"there is no DNS transport '{escape(transport, 40)}'", "udp or tcp")
        return DnsSpec(
            options,
            record_type=check_record_type(self.record_type) if self.record_type else None,
            server=server_text(*parse_server(self.server)) if self.server else None,
            transport=DnsTransport(transport),
        )
