"""Options of the kind ``tcp``. Pure but for the file that ``--send @FILE`` names."""

from dataclasses import dataclass

from probemesh_shared.model import Options, TcpSpec

from probemesh_controller.cli.specs.values import read_bytes


@dataclass(frozen=True, slots=True)
class TcpAsked:
    """As typed; None where an option was not given."""

    send: str | None = None
    banner: bool = False
    half_close: bool = False

    def given(self) -> dict[str, object]:
        return {
            "--send": self.send,
            "--banner": self.banner or None,
            "--half-close": self.half_close or None,
        }

    def spec(self, options: Options) -> TcpSpec:
        send = None if self.send is None else read_bytes(self.send, "--send")
        return TcpSpec(options, send, self.banner, self.half_close)
