"""Options of the kind ``tcp``. Pure."""

from dataclasses import dataclass

from probemesh_shared.model import Options, TcpSpec


@dataclass(frozen=True, slots=True)
class TcpAsked:
    """As typed; None where an option was not given."""

    def given(self) -> dict[str, object]:
        return {}

    def spec(self, options: Options) -> TcpSpec:
        return TcpSpec(options)
