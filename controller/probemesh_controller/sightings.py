"""Whether one identity is used by two processes: pure, told of each session that begins.

A process has an instance, random, in its hello. One that was restarted is never seen again under its former
instance. So an instance that comes back after another has taken its place proves that both are alive: a key
that was copied, with a machine's image as a rule.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

#: Instances that are remembered of one agent.
KEPT = 8
#: Two that share a key turn each other out every few minutes: after this long without, one of them is gone.
FORGOTTEN_S = 1800.0


@dataclass(slots=True)
class Sightings:
    """Of one agent. Instants are monotonic seconds; addresses are shown, never judged."""

    _seen: OrderedDict[str, str] = field(default_factory=OrderedDict)
    _doubled_at: float | None = None
    _pair: tuple[str, str] = ("", "")

    def began(self, instance: str, address: str, now: float) -> bool:
        """True where this session proves a second process with the same identity."""
        latest = next(reversed(self._seen), None)
        returned = instance in self._seen and instance != latest
        if returned and latest is not None:
            self._doubled_at, self._pair = now, (self._seen[latest], address)
        self._seen[instance] = address
        self._seen.move_to_end(instance)
        while len(self._seen) > KEPT:
            self._seen.popitem(last=False)
        return returned

    def doubled(self, now: float) -> str | None:
        """What to say of it, for as long as it goes on."""
        if self._doubled_at is None or now - self._doubled_at > FORGOTTEN_S:
            return None
        return (
            f"two processes use its identity, from {self._pair[0]} and {self._pair[1]}, and turn each other"
            " out: join one of them anew, under a name of its own"
        )
