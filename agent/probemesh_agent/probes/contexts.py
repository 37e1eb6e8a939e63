"""OpenSSL's contexts for a run: one that judges, one that does not, with what a spec asks of both."""

import contextlib
import os
import ssl
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from probemesh_shared import failures
from probemesh_shared.model import DnsSpec, Failure, HttpSpec, TlsSpec
from probemesh_shared.words import Stage

import probemesh_agent.wire.tlsflight  # noqa: F401 - here, and not within a handshake that is timed
from probemesh_agent.env import ProbeFailed

VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
_WEAKEST = ":@SECLEVEL=0"


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """As :class:`~probemesh_shared.model.TlsSpec` has them."""

    min_version: str | None = None
    max_version: str | None = None
    ciphers: str | None = None
    ca: bytes | None = field(default=None, repr=False)
    client_cert: bytes | None = field(default=None, repr=False)
    client_key: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(cls, spec: TlsSpec | HttpSpec | DnsSpec) -> "TlsSettings":
        if isinstance(spec, DnsSpec):
            return cls(ca=spec.ca)
        if isinstance(spec, HttpSpec):
            return cls(ca=spec.ca, client_cert=spec.client_cert, client_key=spec.client_key)
        return cls(
            spec.min_version, spec.max_version, spec.ciphers, spec.ca, spec.client_cert, spec.client_key
        )

    @property
    def anonymous(self) -> "TlsSettings":
        """The same, for servers that our client certificate is not meant for."""
        return replace(self, client_cert=None, client_key=None)

    @property
    def old(self) -> bool:
        """Versions are asked for that OpenSSL's own security levels leave out."""
        return (self.min_version or self.max_version or "TLSv1.2") in ("TLSv1", "TLSv1.1")


class Contexts:
    """For one run. Reading the system's authorities takes some 30 ms of the loop, so what was made without
    settings is shared by all runs until the files or the variables that name them change; what was made
    with some (a key may be among them) ends with its run."""

    def __init__(self, alpn: Sequence[str], settings: TlsSettings | None = None) -> None:
        self.settings = settings or TlsSettings()
        self._alpn = tuple(alpn)
        self._authorities = _authorities()
        shared = self.settings == TlsSettings()
        self._made: _Made = _shared if shared else {}

    def get(self, judging: bool) -> ssl.SSLContext:
        """Raises :class:`ProbeFailed` (``unsupported``) for settings that OpenSSL does not take."""
        key = (self._alpn, judging)
        authorities, context = self._made.get(key, (None, None))
        if context is None or authorities != self._authorities:
            context = self._make(judging)
            self._made[key] = (self._authorities, context)
        return context

    def refused(self) -> Failure | None:
        """Why this host's OpenSSL does not take the settings."""
        try:
            self.get(True)
            self.get(False)
        except ProbeFailed as failed:
            return failed.failure
        return None

    def _make(self, judging: bool) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with _told("the protocols given (--alpn) cannot be offered"):
            context.set_alpn_protocols(list(self._alpn))
        if judging and self.settings.ca is not None:
            _trust(context, self.settings.ca)
        elif judging:
            context.set_default_verify_paths()
        else:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        self._limit(context, judging)
        if self.settings.client_cert is not None:
            _present(context, self.settings.client_cert, self.settings.client_key or b"")
        return context

    def _limit(self, context: ssl.SSLContext, judging: bool) -> None:
        """Versions and ciphers. Unjudged is everything, to report what is spoken, not to trust it."""
        asked = self.settings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that TLS 1.0 is old is why it is asked for
            if asked.old:
                context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            with _told(f"the versions {asked.min_version} to {asked.max_version} cannot be offered here"):
                if asked.max_version is not None:
                    context.maximum_version = VERSIONS[asked.max_version]
                if asked.min_version is not None:
                    context.minimum_version = VERSIONS[asked.min_version]
        ciphers = asked.ciphers or ("DEFAULT" if judging else "ALL")
        if not judging or asked.old:
            ciphers += _WEAKEST
        if asked.ciphers is not None or ciphers != "DEFAULT":
            with _told(f"this agent's OpenSSL knows none of the ciphers {ciphers[:100]!a}"):
                context.set_ciphers(ciphers)


def _trust(context: ssl.SSLContext, pem: bytes) -> None:
    with _told("the authorities given (--ca) are no certificates in PEM form"):
        context.load_verify_locations(cadata=pem.decode("ascii"))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an intermediate may be given too


def _present(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """``ssl`` reads chains from files only: one that stands in memory and has no name on any disk."""
    descriptor = os.memfd_create("client", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", buffering=0, closefd=False) as file:
            file.write(certificate + b"\n" + key + b"\n")
        with _told("the client certificate and its key cannot be read, or do not belong together"):
            context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=_no_password)
    finally:
        os.close(descriptor)


def _no_password() -> str:
    raise ValueError("the key is encrypted")


@contextlib.contextmanager
def _told(detail: str) -> Iterator[None]:
    try:
        yield
    except (ssl.SSLError, ValueError, KeyError) as error:
        raise ProbeFailed(failures.unsupported(Stage.TLS, detail)) from error


_Stamp = tuple[tuple[str, int], ...]
_Made = dict[tuple[tuple[str, ...], bool], tuple[_Stamp, ssl.SSLContext]]
_shared: _Made = {}


def _authorities() -> _Stamp:
    """Where this host keeps the authorities it trusts, and when that last changed."""
    paths = ssl.get_default_verify_paths()
    stamp: list[tuple[str, int]] = []
    for variable, default in (
        (paths.openssl_cafile_env, paths.openssl_cafile),
        (paths.openssl_capath_env, paths.openssl_capath),
    ):
        path = os.environ.get(variable, default)
        try:
            changed = os.stat(path).st_mtime_ns  # noqa: PTH116 - once a run
        except OSError:
            changed = 0
        stamp.append((path, changed))
    return tuple(stamp)
