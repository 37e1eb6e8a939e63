"""Filtering behaviour (RFC 4787 §5) from knocks on fresh mappings.

What came in is proof. Silence counts only of an address from which an answer came in elsewhere: else
nobody knows that anything of it can. Pure.
"""

from collections.abc import Iterable, Sequence

from probemesh_shared.nat import RULES, Ruling

from probemesh_controller.natting.mapping import Judged
from probemesh_controller.natting.seen import Endpoint, Knock, Knocker

EI, AD, APD = RULES
_FROM = {
    Knocker.OTHER_PORT: "another port of the address that was asked",
    Knocker.OTHER_ADDRESS: "an address that was never asked",
}


def filtering(knocks: Sequence[Knock], heard: Iterable[Endpoint]) -> Judged:
    """``heard`` are endpoints whose answers came in on any socket of the subject."""
    known = {endpoint.address for endpoint in heard}
    if not known and not any(knock.arrived for knock in knocks):
        return Judged(Ruling(), (), ("an answer that comes in: none does, not even what was asked for",))
    port, address = (_Count(knocks, who, known) for who in (Knocker.OTHER_PORT, Knocker.OTHER_ADDRESS))
    notes = tuple(note for count in (port, address) if (note := count.note))
    if address.welcome and address.refused:
        return Judged(Ruling(), (*notes, _some(address)), ("rules that do not go by single addresses",))
    missing = tuple(want for count in (port, address) if (want := count.want))
    return Judged(_rule(port, address), notes, missing if len(_rule(port, address).possible) > 1 else ())


def _some(count: "_Count") -> str:
    """No behaviour of RFC 4787: somebody wrote down who may come in."""
    welcome, refused = (", ".join(sorted(one)) for one in (count.welcome, count.refused))
    return f"unasked datagrams of {welcome} always come in, those of {refused} never"


class _Count:
    """How many fresh mappings let one knocker in; ``tried`` are those whose silence would mean something."""

    def __init__(self, knocks: Sequence[Knock], who: Knocker, known: set[str]) -> None:
        mine = [knock for knock in knocks if knock.knocker is who and knock.sent]
        let_in = {knock.socket for knock in mine if knock.arrived}
        counting = {knock.socket for knock in mine if knock.source in known} | let_in
        self.arrived, self.tried = len(let_in), len(counting)
        sources = {knock.source for knock in mine if knock.source in known}
        came = {knock.source for knock in mine if knock.arrived}
        stayed_out = {knock.source for knock in mine if not knock.arrived}
        self.welcome = came - stayed_out
        self.refused = sources - came
        self.note = self._note(who)
        self.want = self._want(who, bool(mine))

    def _note(self, who: Knocker) -> str:
        if not self.tried:
            return ""
        return f"{self.arrived} of {self.tried} fresh mappings let in {_FROM[who]}"

    def _want(self, who: Knocker, knocked: bool) -> str:
        if self.tried:
            return ""
        if knocked:
            return f"a proof that anything comes in from {_FROM[who]}: its silence says nothing"
        return f"a reflector that sends from {_FROM[who]}"


def _rule(port: _Count, address: _Count) -> Ruling:
    if address.arrived:
        return Ruling.of(EI)
    if port.arrived:
        return Ruling.of(AD) if address.tried else Ruling.of(EI, AD)
    if port.tried:
        return Ruling.of(APD)
    return Ruling.of(AD, APD) if address.tried else Ruling()
