"""Options of the kind ``http``. Reads the files that they name; else pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.hosts import bracketed
from probemesh_shared.model import HttpSpec, Options, Target
from probemesh_shared.targets import parse_target
from probemesh_shared.words import Kind

from probemesh_controller.cli.specs.files import basic, bearer, read_file
from probemesh_controller.cli.specs.values import parse_bytes

BODY_MOST = 64 * 1024
FOLLOW = 10
FOLLOW_MOST = 20
_VERSIONS = {"auto": None, "1.1": "1.1", "2": "2"}
#: Header lines that are credentials: kept out of everything that is shown, sent to the target alone.
_SECRET = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})
#: Headers whose value people expect to be read from ``@FILE``, and what does so.
_FROM_FILES = {
    "authorization": "--auth-bearer FILE or --auth-basic FILE",
    "proxy-authorization": "--proxy-auth FILE",
}
_OURS = {
    "content-length": "it is counted here",
    "transfer-encoding": "the body is sent as it is, with its length",
}


@dataclass(frozen=True, slots=True)
class HttpAsked:
    """As typed; None or empty where an option was not given."""

    method: str | None = None
    headers: Sequence[str] = ()
    http_version: str | None = None
    data: str | None = None
    auth_basic: str | None = None
    auth_bearer: str | None = None
    follow: bool = False
    max_redirects: int | None = None
    proxy: str | None = None
    proxy_auth: str | None = None
    range: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None

    def given(self) -> dict[str, object]:
        return {
            "--method": self.method,
            "--header": self.headers or None,
            "--http-version": self.http_version,
            "--data": self.data,
            "--auth-basic": self.auth_basic,
            "--auth-bearer": self.auth_bearer,
            "--follow": self.follow or None,
            "--max-redirects": self.max_redirects,
            "--proxy": self.proxy,
            "--proxy-auth": self.proxy_auth,
            "--range": self.range,
            "--if-none-match": self.if_none_match,
            "--if-modified-since": self.if_modified_since,
        }

    def spec(self, options: Options, sni: str | None) -> HttpSpec:
        self._check()
        body = None if self.data is None else _body(self.data)
        written = [_header(text) for text in self.headers]
        if (self.auth_basic or self.auth_bearer) and any(
            name.lower() == "authorization" for name, _ in written
        ):
            raise InvalidRequest("an Authorization header and a file with credentials exclude each other")
        return HttpSpec(
            options,
            method=_method(self.method or ("GET" if body is None else "POST")),
            headers=tuple(pair for pair in written if not _is_secret(pair)) + self._conditions(),
            server_name=sni,
            http_version=_version(self.http_version or "auto"),
            body=body,
            secret_headers=self._credentials() + tuple(pair for pair in written if _is_secret(pair)),
            follow=self._follow(),
            proxy=_proxy(self.proxy) if self.proxy is not None else None,
        )

    def _check(self) -> None:
        data = "-" if self.data == "@-" else None
        if [self.auth_basic, self.auth_bearer, self.proxy_auth, data].count("-") > 1:
            raise InvalidRequest("two options want to read stdin", "only one of them can be -")
        if self.auth_basic is not None and self.auth_bearer is not None:
            raise InvalidRequest("--auth-basic and --auth-bearer exclude each other")
        if self.proxy_auth is not None and self.proxy is None:
            raise InvalidRequest("--proxy-auth is for a proxy, and none is named", "add --proxy")

    def _credentials(self) -> tuple[tuple[str, str], ...]:
        found = []
        if self.auth_basic is not None:
            found.append(("Authorization", basic(self.auth_basic, "--auth-basic")))
        if self.auth_bearer is not None:
            found.append(("Authorization", bearer(self.auth_bearer, "--auth-bearer")))
        if self.proxy_auth is not None:
            found.append(("Proxy-Authorization", basic(self.proxy_auth, "--proxy-auth")))
        return tuple(found)

    def _conditions(self) -> tuple[tuple[str, str], ...]:
        typed = (
            ("Range", None if self.range is None else f"bytes={_range(self.range)}"),
            ("If-None-Match", self.if_none_match),
            ("If-Modified-Since", self.if_modified_since),
        )
        return tuple(_header(f"{name}: {value}") for name, value in typed if value is not None)

    def _follow(self) -> int:
        if self.max_redirects is None:
            return FOLLOW if self.follow else 0
        if not 1 <= self.max_redirects <= FOLLOW_MOST:
            raise InvalidRequest(
                f"--max-redirects {self.max_redirects} is out of range", f"1 to {FOLLOW_MOST}"
            )
        return self.max_redirects


def sends_in_the_clear(spec: HttpSpec, targets: Sequence[Target]) -> list[str]:
    """Targets to which credentials would go over http://."""
    own = [name for name, _ in spec.secret_headers if name.lower() != "proxy-authorization"]
    return [target.text for target in targets if own and not target.secure]


def _method(text: str) -> str:
    method = text.upper()
    if not method.isascii() or not method.isalpha() or len(method) > 20:
        raise InvalidRequest(f"'{escape(method, 40)}' is no HTTP method", "GET, HEAD, OPTIONS, POST")
    if method == "CONNECT":
        raise InvalidRequest("CONNECT is for proxies", "--proxy uses it where it is due")
    return method


def _version(text: str) -> str | None:
    word = text.lower().removeprefix("http/")
    if word not in _VERSIONS:
        raise InvalidRequest(f"'{escape(text, 40)}' is no version of HTTP known here", "auto, 1.1 or 2")
    return _VERSIONS[word]


def _body(text: str) -> bytes:
    if text.startswith("@"):
        return read_file("--data", text[1:], BODY_MOST, stdin=True)
    data = parse_bytes(text, "--data")
    if len(data) > BODY_MOST:
        raise InvalidRequest(f"--data is larger than {BODY_MOST} bytes")
    return data


def _range(text: str) -> str:
    first, dash, last = text.removeprefix("bytes=").partition("-")
    digits = [word for word in (first, last) if word]
    if not dash or not digits or not all(w.isascii() and w.isdigit() and len(w) <= 18 for w in digits):
        raise InvalidRequest(f"'{escape(text, 40)}' is no range of bytes", "0-1023, 500- or -200")
    if first and last and int(first) > int(last):
        raise InvalidRequest(f"the range {escape(text, 40)} runs backwards")
    return f"{first}-{last}"


def _proxy(text: str) -> str:
    """``http://HOST:PORT`` as HOST:PORT."""
    hint = "write http://HOST:PORT"
    scheme, mark, rest = text.partition("://")
    if not mark:
        scheme, rest = "http", text
    if scheme.lower() != "http":
        raise InvalidRequest(f"a proxy that is spoken to by {escape(scheme, 20)} is not known here", hint)
    if "@" in rest:
        raise InvalidRequest(
            "a proxy's user and password do not belong on the command line", "--proxy-auth FILE"
        )
    try:
        target = parse_target(rest.removesuffix("/"))
    except InvalidRequest as error:
        raise InvalidRequest(f"the proxy '{escape(text, 80)}' cannot be read: {error}", hint) from None
    one = len(target.ports) == 1 and target.ports[0].first == target.ports[0].last
    if target.kind not in (None, Kind.TCP) or target.agent is not None or not one:
        raise InvalidRequest(f"the proxy '{escape(text, 80)}' is not HOST:PORT", hint)
    return f"{bracketed(target.host)}:{target.ports[0].first}"


def _is_secret(pair: tuple[str, str]) -> bool:
    return pair[0].lower() in _SECRET


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    token = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    if not colon or not token:
        raise InvalidRequest(f"the header '{escape(name, 60)}' cannot be read", "write 'Name: value'")
    if any(ord(char) < 32 and char != "\t" for char in value) or "\x7f" in value:
        raise InvalidRequest(f"the header {name} has control characters in its value")
    if name.lower() in _OURS:
        raise InvalidRequest(f"the header {name} cannot be given", _OURS[name.lower()])
    if name.lower() in _FROM_FILES and value.strip().startswith("@"):
        raise InvalidRequest(f"the header {name} is sent as it is typed, not read", _FROM_FILES[name.lower()])
    return name, value.strip()
