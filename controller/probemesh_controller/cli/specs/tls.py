"""Options of the kind ``tls``. Pure."""

from dataclasses import dataclass

from probemesh_shared.model import Options, TlsSpec


@dataclass(frozen=True, slots=True)
class TlsAsked:
    """As typed; None where an option was not given. ``sni`` serves http too."""

    sni: str | None = None

    def given(self) -> dict[str, object]:
        return {"--sni": self.sni}

    def spec(self, options: Options) -> TlsSpec:
        return TlsSpec(options, server_name=self.sni)
