"""A chain judged certificate by certificate, from what was read of it."""

import pytest
from probemesh_shared.certificates import parse_certificate
from probemesh_shared.chainjudge import Judged, chain_problems, days_left, path

from tests.servers.tls_pki import NOW, Made, make

AT = NOW.strftime("%Y-%m-%dT%H:%M:%S.000000Z")
NAME = "web.example"
ROOT = make("Root", authority=True)
INNER = ROOT.issue("Inner", authority=True)
LEAF = INNER.issue(NAME, NAME, "*.web.example", "192.0.2.7")


def codes(*chain: Made, code: int | None = None, name: str | None = NAME, at: str = AT) -> list[str]:
    read = [parse_certificate(one.der) for one in chain]
    return [problem["code"] for problem in chain_problems(read, Judged(code, name, at))]


@pytest.mark.parametrize(
    ("chain", "code", "expected"),
    [
        ((LEAF, INNER), None, []),
        ((LEAF, INNER, ROOT), None, ["root-included"]),
        ((LEAF, INNER, ROOT), 19, ["untrusted-root", "root-included"]),
        ((LEAF,), 20, ["missing-intermediate"]),
        ((LEAF,), 21, ["missing-intermediate"]),
        ((LEAF, INNER), 20, ["issuer-unknown"]),
        ((LEAF, ROOT, INNER), None, ["root-included", "wrong-order"]),
        ((LEAF, INNER, INNER), None, ["superfluous"]),
        ((LEAF, make("Stranger", authority=True)), 20, ["missing-intermediate", "superfluous"]),
        ((make(NAME, NAME),), 18, ["self-signed"]),
        ((LEAF, INNER), 23, ["revoked"]),
        ((), None, []),
    ],
)
def test_what_is_sent(chain: tuple[Made, ...], code: int | None, expected: list[str]) -> None:
    assert codes(*chain, code=code) == expected


def test_names_dates_and_who_may_issue() -> None:
    assert codes(LEAF, INNER, name="a.web.example") == codes(LEAF, INNER, name="192.0.2.7") == []
    assert codes(LEAF, INNER, name="a.b.web.example") == ["name-mismatch"]
    assert codes(LEAF, INNER, name=None) == []
    assert codes(LEAF, INNER, at="2100-01-01T00:00:00.000000Z") == ["expired", "expired"]
    assert codes(LEAF, INNER, at="2001-01-01T00:00:00.000000Z") == ["not-yet-valid", "not-yet-valid"]
    no_authority = ROOT.issue("Not one")
    assert codes(no_authority.issue(NAME, NAME), no_authority) == ["no-authority"]
    bare = INNER.issue(NAME)
    (problem,) = chain_problems([parse_certificate(one.der) for one in (bare, INNER)], Judged(None, NAME, AT))
    assert problem["code"] == "name-mismatch" and "its names: none" in problem["text"]


@pytest.mark.parametrize(("staple", "expected"), [("revoked", ["revoked"]), ("good", []), (None, [])])
def test_the_servers_own_staple_revokes(staple: str | None, expected: list[str]) -> None:
    read = [parse_certificate(one.der) for one in (LEAF, INNER)]
    found = chain_problems(read, Judged(None, NAME, AT, staple))
    assert [one["code"] for one in found if one["severity"] == "problem"] == expected


@pytest.mark.parametrize(("code", "severity"), [(None, "note"), (67, "note"), (66, "problem")])
def test_a_weak_key_is_a_problem_where_it_is_why_openssl_refused(code: int | None, severity: str) -> None:
    small = [parse_certificate(one.der) for one in (INNER.issue(NAME, NAME, rsa_bits=1024), INNER)]
    (found,) = chain_problems(small, Judged(code, NAME, AT))
    assert (found["code"], found["severity"]) == ("weak-key", severity)


def test_weak_keys_and_signatures_are_notes() -> None:
    small = INNER.issue(NAME, NAME, rsa_bits=1024)
    assert codes(small, INNER) == ["weak-key"]
    read = parse_certificate(LEAF.der)
    read["signature_hash"] = "sha1"
    (problem,) = chain_problems([read, parse_certificate(INNER.der)], Judged(None, NAME, AT))
    assert (problem["code"], problem["severity"]) == ("weak-signature", "note")


def test_the_first_to_expire_counts() -> None:
    soon = ROOT.issue("Soon", authority=True, days=(-1, 12))
    chain = [parse_certificate(one.der) for one in (soon.issue(NAME, NAME), soon)]
    assert days_left(chain, AT) == 12
    assert days_left(chain[:1], AT) == 90
    assert days_left([parse_certificate(b"junk")], AT) is None


def test_what_cannot_be_read_and_circles_end() -> None:
    read = [parse_certificate(b"junk"), parse_certificate(b"junk")]
    assert [one["code"] for one in chain_problems(read, Judged(20, NAME, AT))] == ["unreadable"]
    read = [parse_certificate(one) for one in (LEAF.der, INNER.der, b"junk")]
    assert [one["code"] for one in chain_problems(read, Judged(None, NAME, AT))] == ["unreadable"]
    loop = make("Loop", authority=True, days=(-1, 5)).issue("Other", authority=True)
    back = loop.issue("Loop", authority=True)
    circle = [parse_certificate(one.der) for one in (back, loop)]
    assert path(circle) == [0, 1]
