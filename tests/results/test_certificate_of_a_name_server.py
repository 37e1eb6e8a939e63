"""A name server's certificate counts as every other one: told, and a failure with --strict alone."""

import pytest
from probemesh_shared.model import DnsDetail, Measurement, TlsDetail, Vantage
from probemesh_shared.outcomes import certificate_verified, reached
from probemesh_shared.words import DnsTransport, Kind, Outcome


@pytest.mark.parametrize("verified", [True, False, None])
def test_counts(verified: bool | None) -> None:
    detail = DnsDetail("a", "A", transport=DnsTransport.DOT, tls=TlsDetail(verified=verified))
    row = Measurement(Kind.DNS, 0, "dns:a", "192.0.2.53", 853, Outcome.OK, 1, detail=detail)
    vantage = Vantage("self", None, Outcome.OK, measurements=(row,))
    assert certificate_verified(vantage) is verified
    assert reached(vantage) and reached(vantage, strict=True) is (verified is not False)
