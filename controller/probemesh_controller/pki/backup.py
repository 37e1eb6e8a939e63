"""The CA's key in a file of its own, sealed with a passphrase, so that it need not be on the controller.

    {"schema": 1, "kind": "probemesh-ca", "mesh": …, "made_ns": …, "cas": [FINGERPRINT …],
     "kdf": "scrypt-17-8-1", "salt": …, "nonce": …, "sealed": …}          base64 where it is bytes

scrypt (RFC 7914, 128 MiB, about half a second) and AES-256-GCM over the keys and certificates; what stands
outside is authenticated with it. The numbers of scrypt are fixed: a file cannot ask for more memory.
"""

import base64
import json
import os
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from probemesh_shared.errors import InvalidRequest, StateError
from probemesh_shared.identity.files import read_private, write_private

from probemesh_controller.pki.authority import Authority
from probemesh_controller.pki.ca import load_key

LEAST_PASSPHRASE = 12
_KDF = "scrypt-17-8-1"
_MAX_FILE = 64 << 10


def export(
    folder: Path, file: Path, passphrase: str, now_ns: int, *, remove: bool = False
) -> tuple[str, ...]:
    """Writes ``file`` (mode 0600, new), reads it back, and only then removes the keys, if so asked.

    Returns the fingerprints whose keys are in it. Raises :class:`InvalidRequest` (passphrase, file),
    :class:`StateError` (no key here, no room).
    """
    if len(passphrase) < LEAST_PASSPHRASE:
        raise InvalidRequest(f"the passphrase has fewer than {LEAST_PASSPHRASE} characters")
    if file.exists():
        raise InvalidRequest(f"{file} exists", "name a new file")
    ca = Authority(folder)
    keys = {one: read_private(ca.key_path(one)).decode() for one in ca.state.kept if ca.has_key(one)}
    if not keys:
        raise StateError(f"there is no key of a CA in {folder}", "it was exported before, with --remove")
    sealed = _seal(ca, keys, passphrase, now_ns)
    try:
        write_private(file, sealed)
        if _open(file.read_bytes(), passphrase) != (ca.mesh, keys):
            raise StateError(f"{file} does not read as it was written")
        if remove:
            for one in keys:
                ca.key_path(one).unlink()
    except OSError as error:
        raise StateError(f"{error.filename or file}: {error.strerror}") from error
    return tuple(keys)


def restore(folder: Path, file: Path, passphrase: str) -> tuple[str, ...]:
    """Puts the keys of the CAs that are in ``folder`` back. Raises :class:`InvalidRequest` (not such a file,
    another passphrase, another mesh), :class:`StateError`."""
    try:
        with file.open("rb") as source:
            mesh, keys = _open(source.read(_MAX_FILE + 1), passphrase)
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}") from error
    ca = Authority(folder)
    mine = {one: key for one, key in keys.items() if one in ca.state.kept}
    if not mine:
        raise InvalidRequest(
            f"{file} has no key of a CA that is in use here", f"it is of mesh {mesh}; here is mesh {ca.mesh}"
        )
    for one, key in mine.items():
        load_key(key.encode(), ca.certificate_of(one))
        try:
            write_private(ca.key_path(one), key.encode())
        except OSError as error:
            raise StateError(f"{error.filename} cannot be written: {error.strerror}") from error
    return tuple(mine)


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=2**17, r=8, p=1).derive(passphrase.encode())


def _seal(ca: Authority, keys: dict[str, str], passphrase: str, now_ns: int) -> bytes:
    salt, nonce = os.urandom(16), os.urandom(12)
    head = {
        "schema": 1,
        "kind": "probemesh-ca",
        "mesh": ca.mesh,
        "made_ns": now_ns,
        "cas": sorted(keys),
        "kdf": _KDF,
        "salt": base64.b64encode(salt).decode(),
        "nonce": base64.b64encode(nonce).decode(),
    }
    sealed = AESGCM(_key(passphrase, salt)).encrypt(nonce, json.dumps(keys).encode(), _bound(head))
    return (json.dumps(head | {"sealed": base64.b64encode(sealed).decode()}, indent=2) + "\n").encode()


def _bound(head: dict[str, Any]) -> bytes:
    return json.dumps(head, sort_keys=True).encode()


def _open(data: bytes, passphrase: str) -> tuple[str, dict[str, str]]:
    """Mesh and keys by fingerprint. Raises :class:`InvalidRequest`."""
    try:
        head = dict(json.loads(data if len(data) <= _MAX_FILE else b""))
        sealed = base64.b64decode(head.pop("sealed"), validate=True)
        salt, nonce = (base64.b64decode(head[name], validate=True) for name in ("salt", "nonce"))
        known = (head["schema"], head["kind"], head["kdf"]) == (1, "probemesh-ca", _KDF)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidRequest("this is not a backup of a CA") from error
    if not known or len(nonce) != 12:
        raise InvalidRequest("this backup is of a version that this program does not know")
    try:
        keys = json.loads(AESGCM(_key(passphrase, salt)).decrypt(nonce, sealed, _bound(head)))
    except InvalidTag:
        raise InvalidRequest("another passphrase opens this backup, or it is damaged") from None
    return str(head["mesh"]), keys
