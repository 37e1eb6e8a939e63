"""Options of the kind ``udp``. Pure."""

from dataclasses import dataclass

from probemesh_shared.model import Options, UdpSpec

from probemesh_controller.cli.specs.values import parse_bytes


@dataclass(frozen=True, slots=True)
class UdpAsked:
    """As typed; None where an option was not given."""

    payload: str | None = None

    def given(self) -> dict[str, object]:
        return {"--payload": self.payload}

    def spec(self, options: Options) -> UdpSpec:
        payload = None if self.payload is None else parse_bytes(self.payload, "--payload")
        return UdpSpec(options, payload)
