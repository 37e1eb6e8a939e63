"""Options of the kind ``icmp``. Pure."""

from dataclasses import dataclass

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.model import IcmpSpec, Options

LARGEST = 65507
MOST_SIZES = 64


@dataclass(frozen=True, slots=True)
class IcmpAsked:
    """As typed; None where an option was not given."""

    def given(self) -> dict[str, object]:
        return {}

    def spec(self, options: Options, sizes: tuple[int, ...] = ()) -> IcmpSpec:
        return IcmpSpec(options, sizes if len(sizes) > 1 else ())


def parse_sizes(text: str) -> tuple[int, ...]:
    """``56``, ``56,1472`` or ``1000-1500:100``: payload bytes, each once, in order. A range without a step
    has eleven of them.

    >>> parse_sizes("1000-1500:200,56")
    (56, 1000, 1200, 1400, 1500)
    """
    sizes = sorted({size for item in text.split(",") for size in _span(item)})
    if len(sizes) > MOST_SIZES:
        raise InvalidRequest(
            f"--size {escape(text, 40)} are {len(sizes)} sizes, {MOST_SIZES} at most", "give a larger step"
        )
    return tuple(sizes)


def _span(item: str) -> list[int]:
    span, colon, step = item.partition(":")
    first, dash, last = span.partition("-")
    low, high = _bytes(first, item), _bytes(last, item) if dash else _bytes(first, item)
    if low > high or (colon and not dash):
        raise InvalidRequest(f"--size {escape(item, 40)} cannot be read", "for example 56,1000-1500:100")
    by = max(1, _bytes(step, item)) if colon else max(1, (high - low) // 10)
    return [*range(low, high, by), high]


def _bytes(text: str, item: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5) or int(text) > LARGEST:
        raise InvalidRequest(
            f"--size {escape(item, 40)} is not a size or range of 0 to {LARGEST} bytes",
            "for example 1400 or 56,1000-1500:100",
        )
    return int(text)
