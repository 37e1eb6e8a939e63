"""A bill of materials beside each wheel: CycloneDX 1.6 as JSON, of what ``supply/run.txt`` locks.

    python supply/sbom.py dist/probemesh-*.whl      (``make wheel`` does)

Names, versions and hashes are the lock's; licences and who needs whom are what the installed packages say of
themselves, so it runs where they are installed. Same wheel, same lock, same file.
"""

import hashlib
import json
import re
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = Path(__file__).with_name("run.txt")
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)(?:\s*;\s*(.+))?$")
_HASH = re.compile(r"^--hash=sha256:([0-9a-f]{64})$")


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of a lock: its release, where it is wanted at all, and the files that may be it."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    @property
    def purl(self) -> str:
        return f"pkg:pypi/{self.name}@{self.version}"

    def wanted_here(self) -> bool:
        return not self.marker or Marker(self.marker).evaluate()


def pins(lock: str) -> Iterator[Pin]:
    """Of a file in pip's format. Raises ``ValueError`` for a line that is neither pin, hash nor comment."""
    lines = [line.strip() for line in lock.replace("\\\n", "\n").splitlines()]
    found: list[tuple[str, str, str, list[str]]] = []
    for line in lines:
        pin, file = _PIN.match(line), _HASH.match(line)
        if pin:
            found.append((canonicalize_name(pin[1]), pin[2], pin[3] or "", []))
        elif file and found:
            found[-1][3].append(file[1])
        elif line and not line.startswith("#"):
            raise ValueError(f"not a line of a lock: {line}")
    for name, version, marker, hashes in found:
        yield Pin(name, version, marker, tuple(hashes))


def licences(metadata: Message) -> list[dict[str, Any]]:
    """An SPDX expression where there is one (PEP 639), else the words of classifiers or of the field."""
    if expression := metadata.get("License-Expression"):
        return [{"expression": expression}]
    trove = [line for line in metadata.get_all("Classifier", []) if line.startswith("License ::")]
    names = [line.rpartition(" :: ")[2] for line in trove] or [metadata.get("License", "").partition("\n")[0]]
    return [{"license": {"name": name}} for name in names if name]


def needs(metadata: Message, known: dict[str, Pin]) -> list[str]:
    """References to those of ``known`` that this package asks for without any extra."""
    asked = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    names = {
        canonicalize_name(one.name)
        for one in asked
        if one.marker is None or one.marker.evaluate({"extra": ""})
    }
    return sorted(known[name].purl for name in names & known.keys())


def component(pin: Pin) -> dict[str, Any]:
    """A package that the lock wants only elsewhere is named without what it says of itself."""
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": pin.purl,
        "name": pin.name,
        "version": pin.version,
        "purl": pin.purl,
        "scope": "optional" if pin.marker and not pin.wanted_here() else "required",
        "externalReferences": [
            {"type": "distribution", "url": pin.purl, "hashes": [{"alg": "SHA-256", "content": sha}]}
            for sha in pin.hashes
        ],
    }
    if said := installed(pin):
        found["licenses"] = licences(said)
    return found


def installed(pin: Pin) -> Message | None:
    """What the package says of itself; None where this machine has no need of it. Raises ``ValueError`` where
    another release is installed than the lock has."""
    try:
        metadata = distribution(pin.name).metadata
    except PackageNotFoundError:
        if pin.wanted_here():
            raise ValueError(f"{pin.name} is not installed: make .venv/run.stamp") from None
        return None
    if metadata["Version"] != pin.version:
        raise ValueError(f"{pin.name} {metadata['Version']} is installed, and {pin.version} locked")
    return metadata  # type: ignore[return-value]  # its protocol is a message's


def bill(wheel: Path, lock: str) -> dict[str, Any]:
    """The whole document."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    ours = _metadata_of(wheel)
    name, version = canonicalize_name(ours["Name"]), ours["Version"]
    own = f"pkg:pypi/{name}@{version}"
    known = {pin.name: pin for pin in pins(lock)}
    graph = [{"ref": own, "dependsOn": needs(ours, known)}]
    for pin in known.values():
        said = installed(pin)
        graph.append({"ref": pin.purl, "dependsOn": needs(said, known) if said is not None else []})
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, own + digest)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": name,
                "version": version,
                "purl": own,
                "licenses": licences(ours),
                "hashes": [{"alg": "SHA-256", "content": digest}],
            },
            "properties": [{"name": "probemesh:wheel", "value": wheel.name}],
        },
        "components": [component(pin) for pin in known.values()],
        "dependencies": graph,
    }


def _metadata_of(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        (name,) = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
        return HeaderParser().parsestr(archive.read(name).decode())


def main(wheels: list[str]) -> int:
    """Writes ``NAME.cdx.json`` beside each wheel."""
    for text in wheels:
        wheel = Path(text)
        found = bill(wheel, LOCK.read_text())
        wheel.with_suffix(".cdx.json").write_text(json.dumps(found, indent=1) + "\n")
    return 0 if wheels else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
