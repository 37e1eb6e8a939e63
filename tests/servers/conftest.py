"""A certificate for the servers, in a folder that every one of their users can enter."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.probes_rich.rich_bench import authority, bench, trusted
from tests.servers.mail import Pair

__all__ = ["authority", "bench", "trusted"]


@pytest.fixture
def pair(authority: trustme.CA) -> Iterator[Pair]:
    folder = Path(tempfile.mkdtemp(prefix="pm-"))
    folder.chmod(0o755)
    issued = authority.issue_cert("web.example", "127.0.0.1", "localhost")
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    key.chmod(0o600)
    yield Pair(cert, key, folder)
    shutil.rmtree(folder, ignore_errors=True)
