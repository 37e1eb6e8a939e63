"""Which certificate a measurement met, and whose it is."""

from probemesh_shared.model import DnsDetail, HttpDetail, Measurement, TlsDetail


def tls_detail(row: Measurement) -> TlsDetail | None:
    detail = row.detail.tls if isinstance(row.detail, HttpDetail | DnsDetail) else row.detail
    return detail if isinstance(detail, TlsDetail) else None


def whose_certificate(row: Measurement) -> str | None:
    """A name server's certificate is its own; at the end of redirects stands the origin they lead to."""
    tls = tls_detail(row)
    if tls is not None and isinstance(row.detail, DnsDetail):
        return tls.server_name or row.address
    if isinstance(row.detail, HttpDetail) and row.detail.redirects:
        return _origin(row.detail.effective_url or "https://the last redirect")
    return None


def unverified_hops(row: Measurement) -> tuple[str, ...]:
    if not isinstance(row.detail, HttpDetail):
        return ()
    return tuple(sorted({_origin(hop.url) for hop in row.detail.redirects if hop.tls_verified is False}))


def _origin(url: str) -> str:
    """``https://host:port``."""
    return "/".join(url[:200].split("/")[:3])
