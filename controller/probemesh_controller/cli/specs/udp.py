"""Options of the kind ``udp``. Pure but for the file that ``--payload @FILE`` names."""

from dataclasses import dataclass

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.model import Options, UdpSpec
from probemesh_shared.words import UdpRequest

from probemesh_controller.cli.specs.values import one_of, read_bytes


@dataclass(frozen=True, slots=True)
class UdpAsked:
    """As typed; None where an option was not given."""

    payload: str | None = None
    request: str | None = None

    def given(self) -> dict[str, object]:
        return {"--payload": self.payload, "--request": self.request}

    def spec(self, options: Options) -> UdpSpec:
        payload = None if self.payload is None else read_bytes(self.payload, "--payload")
        request = None if self.request is None else one_of(UdpRequest, self.request, "--request")
        if request is not None and (payload is not None or options.size is not None):
            other = "--payload" if payload is not None else "--size"
            raise InvalidRequest(f"{other} and --request exclude each other", "a ready-made request is whole")
        if payload is not None and options.size is not None:
            raise InvalidRequest("--payload and --size exclude each other", "a payload has its own size")
        return UdpSpec(options, payload, request)
