"""Options of the kind ``tls``. Pure."""

from dataclasses import dataclass

from probemesh_shared.model import Options, TlsSpec
from probemesh_shared.words import StartTls

from probemesh_controller.cli.specs.values import one_of


@dataclass(frozen=True, slots=True)
class TlsAsked:
    """As typed; None where an option was not given. ``sni`` serves http too."""

    sni: str | None = None
    starttls: str | None = None

    def given(self) -> dict[str, object]:
        return {"--sni": self.sni, "--starttls": self.starttls}

    def spec(self, options: Options) -> TlsSpec:
        starttls = None if self.starttls is None else one_of(StartTls, self.starttls, "--starttls")
        return TlsSpec(options, server_name=self.sni, starttls=starttls)
