"""Mail, file, directory and database servers that offer TLS by STARTTLS or in their own way."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port
from tests.servers.running import owned, program, serving


@dataclass(frozen=True)
class Pair:
    """Certificate and key in PEM, and the folder for a server's own files."""

    cert: Path
    key: Path
    folder: Path

    def sub(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(mode=0o755)
        return path


@contextlib.contextmanager
def smtp(pair: Pair) -> Iterator[int]:
    """Exim, which takes no mail."""
    folder, port = pair.sub("exim"), free_port()
    (folder / "spool").mkdir()
    for name in ("cert", "key"):
        shutil.copy(getattr(pair, name), folder / f"{name}.pem")
    conf = folder / "exim.conf"
    conf.write_text(
        f"primary_hostname = mail.example\nspool_directory = {folder}/spool\nlog_file_path = {folder}/%slog\n"
        f"tls_advertise_hosts = *\ntls_certificate = {folder}/cert.pem\ntls_privatekey = {folder}/key.pem\n"
        f"pid_file_path = {folder}/pid\nacl_smtp_rcpt = deny\nkeep_environment =\nbegin acl\n"
    )
    owned(folder, "Debian-exim")
    shutil.chown(conf, 0, 0)
    exim = program("exim4") or "exim4"
    with serving(folder, exim, "-bdf", "-C", str(conf), "-oX", f"127.0.0.1.{port}", tcp=[port]):
        yield port


@contextlib.contextmanager
def dovecot(pair: Pair) -> Iterator[tuple[int, int]]:
    """Ports of IMAP and POP3."""
    folder, imap, pop3 = pair.sub("dovecot"), free_port(), free_port()
    run = folder / "run"
    run.mkdir()
    conf = folder / "dovecot.conf"
    services = "".join(
        f"service {name}-login {{\n inet_listener {name} {{\n address = 127.0.0.1\n port = {port}\n }}\n"
        f" inet_listener {name}s {{\n port = 0\n }}\n chroot =\n}}\n"
        for name, port in (("imap", imap), ("pop3", pop3))
    )
    conf.write_text(
        f"protocols = imap pop3\nbase_dir = {run}\nlog_path = /dev/stderr\nssl = yes\n"
        f"ssl_cert = <{pair.cert}\nssl_key = <{pair.key}\n"
        f"passdb {{\n driver = static\n args = nopassword=y\n}}\n"
        f"userdb {{\n driver = static\n args = uid=65534 gid=65534 home={folder}\n}}\n{services}"
        "service stats {\n unix_listener stats-writer {\n mode = 0666\n }\n}\n"
    )
    with serving(folder, program("dovecot") or "dovecot", "-F", "-c", str(conf), tcp=[imap, pop3]):
        yield imap, pop3


@contextlib.contextmanager
def ftp(pair: Pair) -> Iterator[int]:
    """vsftpd."""
    folder, port = pair.sub("vsftpd"), free_port()
    empty = folder / "empty"
    empty.mkdir(mode=0o755)
    conf = folder / "vsftpd.conf"
    conf.write_text(
        f"listen=YES\nlisten_port={port}\nlisten_address=127.0.0.1\nbackground=NO\nanonymous_enable=YES\n"
        f"local_enable=NO\nsecure_chroot_dir={empty}\nanon_root={empty}\nssl_enable=YES\n"
        f"allow_anon_ssl=YES\nrsa_cert_file={pair.cert}\nrsa_private_key_file={pair.key}\nseccomp_sandbox=NO\n"
    )
    conf.chmod(0o600)
    with serving(folder, program("vsftpd") or "vsftpd", str(conf), tcp=[port]):
        yield port


@contextlib.contextmanager
def ldap(pair: Pair) -> Iterator[int]:
    """OpenLDAP's slapd, with nothing in it."""
    folder, port = pair.sub("slapd"), free_port()
    (folder / "db").mkdir()
    conf = folder / "slapd.conf"
    conf.write_text(
        f"include /etc/ldap/schema/core.schema\npidfile {folder}/pid\nargsfile {folder}/args\n"
        f"TLSCertificateFile {pair.cert}\nTLSCertificateKeyFile {pair.key}\n"
        "modulepath /usr/lib/ldap\nmoduleload back_mdb\n"
        "database mdb\nsuffix dc=example\nrootdn cn=admin,dc=example\n"
        f"directory {folder}/db\nmaxsize 1048576\n"
    )
    url = f"ldap://127.0.0.1:{port}/"
    with serving(folder, program("slapd") or "slapd", "-d", "0", "-h", url, "-f", str(conf), tcp=[port]):
        yield port


def postgres_bin() -> Path | None:
    """Where PostgreSQL's programs are, which Debian keeps out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


@contextlib.contextmanager
def postgres(pair: Pair) -> Iterator[int]:
    """PostgreSQL; its folder is made by initdb as the user postgres, who is the only one it runs as."""
    place = postgres_bin()
    assert place is not None
    folder, port = pair.sub("postgres"), free_port()
    for name in ("cert", "key"):
        shutil.copy(getattr(pair, name), folder / f"{name}.pem")
    (folder / "key.pem").chmod(0o600)
    owned(folder, "postgres")
    account = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    subprocess.run(
        [place / "initdb", "--no-sync", "-A", "trust", "-D", folder / "data"],
        check=True,
        capture_output=True,
        cwd=folder,
        **account,  # type: ignore[call-overload]
    )
    settings = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "ssl": "on",
        "ssl_cert_file": folder / "cert.pem",
        "ssl_key_file": folder / "key.pem",
        "fsync": "off",
    }
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with serving(
        folder, str(place / "postgres"), "-D", str(folder / "data"), *words, tcp=[port], user="postgres"
    ):
        yield port


@contextlib.contextmanager
def mysql(pair: Pair) -> Iterator[int]:
    """MariaDB, without its tables of grants."""
    folder, port = pair.sub("mysql"), free_port()
    (folder / "data").mkdir()
    for name in ("cert", "key"):
        shutil.copy(getattr(pair, name), folder / f"{name}.pem")
    owned(folder, "nobody")
    options = (
        "--no-defaults",
        f"--datadir={folder / 'data'}",
        "--bind-address=127.0.0.1",
        f"--port={port}",
        f"--socket={folder / 'sock'}",
        f"--pid-file={folder / 'pid'}",
        "--skip-grant-tables",
        "--skip-networking=0",
        "--loose-innodb=OFF",
        "--default-storage-engine=MyISAM",
        "--skip-log-bin",
        f"--ssl-cert={folder / 'cert.pem'}",
        f"--ssl-key={folder / 'key.pem'}",
        "--lc-messages-dir=/usr/share/mysql",
    )
    with serving(folder, program("mariadbd") or "mariadbd", *options, tcp=[port], user="nobody"):
        yield port
