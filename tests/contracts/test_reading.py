"""A contract's file: each error is one clear line with file, line and what to write instead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_controller.contracts.reading import ContractProblems, load, read
from probemesh_shared.errors import StateError
from probemesh_shared.words import Kind

GOOD = """count = 2
timeout = "1s"

[[must_not]]
from = "site=dmz"
to = "db:5432"

[[must]]
name = "apps reach the database"
from = "site=berlin,tokyo-1"
to = ["db:5432", "https://shop/"]
rtt_max = "20ms"
loss_max = "0%"

[[must]]
to_agents = "site=tokyo"
port = [22, 443]
kind = "tcp"
family = "ipv4"
"""


def test_a_good_one_is_read_in_the_order_of_the_file() -> None:
    contract = read(GOOD, "c.toml")
    first, second, third = contract.clauses
    assert [clause.line for clause in contract.clauses] == [4, 8, 15]
    assert (first.name, first.must, first.from_) == ("must_not 1", False, "site=dmz")
    assert [target.text for target in second.targets] == ["db:5432", "https://shop/"]
    assert [(one.key, one.value) for one in second.specs[0].options.expect] == [
        ("rtt-max", "20ms"),
        ("loss-max", "0%"),
    ]
    assert (third.to_agents, third.ports, third.kind, third.from_) == (
        "site=tokyo",
        (22, 443),
        Kind.TCP,
        "all",
    )
    assert {clause.specs[0].options.count for clause in contract.clauses} == {2}


@pytest.mark.parametrize(
    ("text", "line", "said", "hint"),
    [
        ('[[must]]\nto = "db:1"\nfrm = "all"', 3, "the key 'frm' is not known here", "did you mean 'from'?"),
        ('[[musst]]\nto = "db:1"', 1, "the key 'musst' is not known here", "did you mean 'must'?"),
        ("[[must]]\nto = ", 2, "it is no TOML", None),
        ('[[must]]\nto = "db:70000"', 2, "70000", None),
        ('\n[[must]]\nto = [\n"db:1",\n"db:0",\n]', 5, "port", None),
        ('[[must]]\nto = "db:22,80"', 2, "has several ports", "write each port as a TARGET of its own"),
        ('[[must]]\nfrom = "all"', 1, "this clause has no to", 'write to = "HOST:PORT"'),
        ('[[must]]\nto = "db:1"\nkind = "tpc"', 3, "kind = 'tpc' is not known", "did you mean 'tcp'?"),
        ('[[must]]\nto = "db:1"\nrtt_max = "soon"', 1, "rtt-max", None),
        ('[[must]]\nto = "db:1"\nport = 22', 3, "port belongs to to_agents", "behind the host"),
        ('[[must]]\nto_agents = "all"\nport = [22, 0]', 3, "this is no port", "1 to 65535"),
        ('[[must]]\nto = "db:1"\nfrom = "@last"', 3, "'@last' means nothing that lasts", None),
        ('[[must_not]]\nto = "db:1"\nrtt_max = "2ms"', 1, "a bound of what must not connect", "leave it out"),
        ('[[must]]\nto = "icmp:db"\nkind = "tcp"', 1, "does not fit", None),
        ("count = 3", None, "it declares nothing", "write [[must]]"),
        ('[[must]]\nto = "db:1"\nname = 7', 3, "name is 7", None),
    ],
    ids=lambda value: "" if not isinstance(value, str) else None,
)
def test_what_is_wrong_is_one_line(text, line, said, hint) -> None:
    with pytest.raises(ContractProblems) as caught:
        read(text, "c.toml")
    told = caught.value.problems[0]
    assert told.startswith("c.toml: " if line is None else f"c.toml:{line}: "), told
    assert said in told
    assert hint is None or hint in told
    assert "\n" not in told


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ContractProblems) as caught:
        read('[[must]]\nto = "db:0"\nkindd = "tcp"\n[[must]]\nfrom = 3\n', "c.toml")
    assert [told.split(": ")[0] for told in caught.value.problems] == [
        "c.toml:2",
        "c.toml:3",
        "c.toml:4",
        "c.toml:5",
    ]


def test_what_cannot_be_opened_or_is_no_text(tmp_path) -> None:
    with pytest.raises(StateError, match="cannot be read"):
        load(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b'[[must]]\nto = "\xff"')
    with pytest.raises(ContractProblems, match=r"bytes.toml:2: it is not UTF-8"):
        load(tmp_path / "bytes.toml")


@given(st.one_of(st.text(max_size=200), st.text(max_size=60).map(lambda text: f"[[must]]\n{text}")))
def test_any_text_is_read_or_refused_with_words(text) -> None:
    try:
        read(text, "c.toml")
    except ContractProblems as error:
        assert all(told.isprintable() for told in error.problems)
