"""Zone files for the name servers of tests, signed by bind9's own tools, and broken on purpose."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Zone:
    """``anchor``: the key-signing key's DNSKEY record as text; empty where the zone is not signed."""

    name: str
    file: Path
    anchor: str = ""


def write_zone(
    folder: Path, name: str, *lines: str, serial: int = 1, servers: Sequence[str] = ("ns",)
) -> Zone:
    """``lines`` are records; ``servers`` are NS names, absolute or below the zone."""
    folder.mkdir(parents=True, exist_ok=True)
    text = [f"$ORIGIN {name}.", "$TTL 300", f"@ SOA ns hostmaster {serial} 3600 600 86400 60"]
    text += [f"@ NS {server}" for server in servers]
    file = folder / f"{name}.zone"
    file.write_text("\n".join([*text, *lines]) + "\n")
    return Zone(name, file)


def sign(zone: Zone, *, until: str = "now+30d", since: str = "now-1h") -> Zone:
    """With one ECDSA key for all, and NSEC."""
    folder = zone.file.parent
    key = _run(folder, "dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", "-f", "KSK", zone.name).strip()
    signed = zone.file.with_suffix(".signed")
    times, files = ("-s", since, "-e", until), ("-f", str(signed), str(zone.file))
    _run(folder, "dnssec-signzone", "-q", "-P", "-z", "-S", "-o", zone.name, *times, *files)
    anchor = next(
        line for line in (folder / f"{key}.key").read_text().splitlines() if not line.startswith(";")
    )
    return Zone(zone.name, signed, " ".join(anchor.split()))


def break_record(zone: Zone, old: str, new: str) -> Zone:
    """The signed file with ``old`` replaced: the signature over it holds no more."""
    text = zone.file.read_text()
    assert old in text
    zone.file.write_text(text.replace(old, new))
    return zone


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout
