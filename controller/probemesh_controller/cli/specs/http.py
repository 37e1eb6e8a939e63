"""Options of the kind ``http``. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.model import HttpSpec, Options


@dataclass(frozen=True, slots=True)
class HttpAsked:
    """As typed; None or empty where an option was not given."""

    method: str | None = None
    headers: Sequence[str] = ()

    def given(self) -> dict[str, object]:
        return {
            "--method": self.method,
            "--header": self.headers or None,
        }

    def spec(self, options: Options, sni: str | None) -> HttpSpec:
        method = (self.method or "GET").upper()
        if not method.isascii() or not method.isalpha() or len(method) > 20:
            raise InvalidRequest(f"'{escape(method, 40)}' is no HTTP method", "GET, HEAD, OPTIONS, POST")
        return HttpSpec(
            options,
            method=method,
            headers=tuple(_header(text) for text in self.headers),
            server_name=sni,
        )


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    token = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    if not colon or not token:
        raise InvalidRequest(f"the header '{escape(text, 60)}' cannot be read", "write 'Name: value'")
    if any(ord(char) < 32 and char != "\t" for char in value) or "\x7f" in value:
        raise InvalidRequest(f"the header {name} has control characters in its value")
    return name, value.strip()
