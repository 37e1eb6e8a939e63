"""What options name by a file of this machine: read once, bounded, refused with the reason."""

from pathlib import Path

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape


def read_file(option: str, path: str, most: int) -> bytes:
    """At most ``most`` bytes. Raises :class:`InvalidRequest`."""
    shown = escape(path, 200)
    try:
        with Path(path).open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InvalidRequest(f"{option} {shown} cannot be read: {said}") from None
    if len(data) > most:
        raise InvalidRequest(f"{option} {shown} is larger than {most >> 10} KiB")
    return data
