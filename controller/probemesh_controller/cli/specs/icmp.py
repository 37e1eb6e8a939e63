"""Options of the kind ``icmp``. Pure."""

from dataclasses import dataclass

from probemesh_shared.model import IcmpSpec, Options


@dataclass(frozen=True, slots=True)
class IcmpAsked:
    """As typed; None where an option was not given."""

    def given(self) -> dict[str, object]:
        return {}

    def spec(self, options: Options) -> IcmpSpec:
        return IcmpSpec(options)
