"""/etc/hosts and nsswitch.conf, as far as names of hosts go."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_agent.net.namefiles import hosts_lines, hosts_order, read_name_files
from probemesh_shared.model import HostsLine

HOSTS = """# comment with db.corp
127.0.0.1\tlocalhost
192.0.2.1   DB.corp db   # the old one
2001:DB8::1 db.corp
999.1.1.1 db.corp
192.0.2.3 db.corp.example
192.0.2.4
   192.0.2.5 x db.corp
"""


def test_lines_that_have_the_name_and_no_others():
    found = hosts_lines(HOSTS, "Db.Corp.")
    assert found == (
        HostsLine(3, "192.0.2.1", ("db.corp", "db")),
        HostsLine(4, "2001:db8::1", ("db.corp",)),
        HostsLine(8, "192.0.2.5", ("x", "db.corp")),
    )


def test_names_and_lines_are_bounded():
    many = "192.0.2.1 " + " ".join(f"n{i}" for i in range(1000)) + "\n"
    found = hosts_lines(many * 100, "n999")
    assert len(found) == 16 and all(len(line.names) == 16 for line in found)


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("", ("files", "dns")),
        ("passwd: files\n", ("files", "dns")),
        ("hosts:\n", ("files", "dns")),
        ("hosts: dns files\n", ("dns", "files")),
        (
            "# hosts: x\n hosts : Files mdns4_minimal [NOTFOUND=return] dns myhostname # ours\n",
            ("files", "mdns4_minimal", "[notfound=return]", "dns", "myhostname"),
        ),
        ("hosts: " + "x " * 1000, ("x",) * 16),
    ],
)
def test_order_of_services(text: str, order: tuple[str, ...]):
    assert hosts_order(text) == order


@given(st.text(), st.text(min_size=1, max_size=20))
def test_any_text_is_read(text: str, name: str):
    assert len(hosts_lines(text, name)) <= 16 and len(hosts_order(text)) <= 16


def test_missing_and_endless_files(tmp_path: Path):
    files = read_name_files(tmp_path / "none", Path("/dev/zero"))
    assert files.hosts == "" and len(files.nsswitch) == 64 * 1024
