"""Any policy file is a policy or a refusal, and what is misspelt is never read as if it were not there."""

import string
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from probemesh_agent.net.policy import Policy
from probemesh_shared.errors import StateError

_NETWORKS = ("10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24", "2001:db8::/32", "::ffff:10.0.0.0/104", "0.0.0.0/0")
_WORDS = st.text(string.ascii_letters + "_-", min_size=1, max_size=12)
_VALUES = st.one_of(
    st.just("true"),
    st.just("false"),
    st.integers(-2, 10**10).map(str),
    st.sampled_from(["7.5", "nan", "inf", "-inf", '""', "[]", "{}", '"10.0.0.0/8"', '["10.0.0.1/8"]', "[1]"]),
    st.lists(st.sampled_from(_NETWORKS), max_size=4).map(lambda found: str(found).replace("'", '"')),
)
_KNOWN = ("cidrs", "names", "ports", "kinds", "loopback", "unicast", "listen", "packets_per_s", "concurrent")
_KEYS = st.sampled_from((*_KNOWN, "cidr", "name"))
_SECTIONS = st.sampled_from(["[allow]", "[deny]", "[limits]", "[denied]", "[allow.deny]", "[[deny]]", ""])
_FILES = st.lists(
    st.tuples(_SECTIONS, st.lists(st.tuples(_KEYS | _WORDS, _VALUES), max_size=4)), max_size=4
).map(
    lambda parts: "".join(
        f"{head}\n" + "".join(f"{key} = {value}\n" for key, value in rows) for head, rows in parts
    )
)
QUICK = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def _load(folder: Path, text: str) -> Policy | None:
    path = folder / "policy.toml"
    path.write_text(text, "utf-8", errors="surrogatepass")
    try:
        return Policy.load(path)
    except StateError as error:
        assert str(path) in str(error) and error.hint
        return None


@QUICK
@given(text=_FILES | st.text(max_size=200))
def test_any_file_is_a_policy_or_a_refusal(tmp_path: Path, text: str) -> None:
    policy = _load(tmp_path, text)
    if policy is not None:
        assert 0 < policy.limits.packets_per_s < 1e9 and 0 < policy.limits.concurrent < 1e9
        for address in ("192.0.2.1", "169.254.169.254", "127.0.0.1", "::ffff:10.0.0.1", "2001:db8::1"):
            assert policy.explain(address).text.isprintable()


@QUICK
@given(word=_WORDS, section=st.sampled_from(["allow", "deny", "limits"]))
def test_a_key_that_nobody_knows_is_no_key_that_says_nothing(tmp_path: Path, word: str, section: str) -> None:
    """Whatever later keys there will be: none begins so."""
    assert _load(tmp_path, f'[{section}]\nx{word} = ["10.0.0.0/8"]\n') is None
    assert _load(tmp_path, f'[x{word}]\ncidrs = ["10.0.0.0/8"]\n') is None


@QUICK
@given(
    allow=st.lists(st.sampled_from(_NETWORKS), max_size=4),
    deny=st.lists(st.sampled_from(_NETWORKS), min_size=1, max_size=4),
    number=st.integers(0, (1 << 32) - 1),
)
def test_deny_wins(tmp_path: Path, allow: list[str], deny: list[str], number: int) -> None:
    lines = (f"[{name}]\ncidrs = {found!s}\n" for name, found in (("allow", allow), ("deny", deny)))
    policy = _load(tmp_path, "".join(lines).replace("'", '"'))
    only_denied = _load(tmp_path, f"[deny]\ncidrs = {deny}\n".replace("'", '"'))
    assert policy is not None and only_denied is not None
    for address in (ip_address(number), ip_address("10.1.2.3"), ip_address("2001:db8::5")):
        if only_denied.explain(address).rule == "deny":
            assert not policy.explain(address).allowed


@pytest.mark.parametrize("size", [0, 1, 7])
def test_a_file_that_was_cut_is_a_refusal_or_less(tmp_path: Path, size: int) -> None:
    """Half a file must not allow what the whole one does not."""
    whole = '[deny]\ncidrs = ["10.0.0.0/8"]\n'
    assert _load(tmp_path, whole[:size]) is None


@pytest.mark.parametrize(
    "text",
    [
        f"[limits]\nconcurrent = {'9' * 5000}\n",
        f"[allow]\nports = [0x{'f' * 4000}]\n",
        "[allow]\nports = [-9]\n",
        f"[deny]\nnames = [0x{'f' * 4000}]\n",
        f"[limits]\nconcurrent = 0x{'f' * 4000}\n",
        "a = " + "[" * 5000,
    ],
    ids=["digits", "hex-port", "below", "hex-name", "hex-limit", "nested"],
)
def test_what_python_itself_will_not_read_is_a_refusal(tmp_path: Path, text: str) -> None:
    assert _load(tmp_path, text) is None
