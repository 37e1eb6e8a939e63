"""nginx and tinyproxy on loopback, as the tests of http want them."""

import contextlib
import gzip
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.ports import free_port
from tests.servers.running import serving

FILE = bytes(range(256)) * 40  # 10,240 bytes

_NGINX = """
daemon off; worker_processes 1; master_process off; user root;
error_log {folder}/error.log; pid {folder}/nginx.pid;
events {{ worker_connections 256; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  default_type text/plain; keepalive_timeout 5s; root {folder}/www; gzip_static on; server_tokens off;
  server {{
    listen 127.0.0.1:{plain}; listen 127.0.0.1:{secure} ssl http2; listen 127.0.0.1:{clear2} http2;
    listen 127.0.0.1:{old} ssl;
    server_name localhost; ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    location = /empty {{ return 204; }}
    location = /teapot {{ return 418 "short and stout"; }}
    location = /json {{ default_type application/json; return 200 '{{"ready": true, "nodes": [1, 2]}}'; }}
    location = /slow {{ limit_rate 8k; }}
    location = /big-headers {{
      add_header X-A {long}; add_header X-B {long}; add_header X-C {long}; return 200 "big";
    }}
    location = /too-big-headers {{ {many} return 200 "too big"; }}
    location = /loop {{ return 302 /loop2; }}
    location = /loop2 {{ return 302 /loop; }}
    location = /hop1 {{ return 301 /hop2; }}
    location = /hop2 {{ return 302 http://127.0.0.1:{plain}/hop3?q=1; }}
    location = /hop3 {{ return 308 /json; }}
    location = /downgrade {{ return 302 http://127.0.0.1:{plain}/json; }}
    location = /private {{
      auth_basic closed; auth_basic_user_file {folder}/users; try_files /file =404;
    }}
    location = /chunked {{ ssi on; ssi_types *; try_files /ssi =404; }}
    location = /echo-length {{ return 200 "$request_method $content_length $http_authorization"; }}
  }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """Ports: HTTP/1.1 in the clear; TLS with and without HTTP/2; HTTP/2 in the clear."""

    folder: Path
    plain: int
    secure: int
    old: int
    clear2: int

    @property
    def authority(self) -> Path:
        return self.folder / "authority.pem"

    def log(self) -> str:
        return (self.folder / "access.log").read_text()


@contextlib.contextmanager
def nginx(authority: trustme.CA) -> Iterator[Nginx]:
    folder = Path(tempfile.mkdtemp(prefix="pm-http-"))
    try:
        ports = dict(zip(("plain", "secure", "old", "clear2"), (free_port() for _ in range(4)), strict=True))
        _content(folder, authority)
        long = "x" * 3000
        many = " ".join(f"add_header X-{n} {long};" for n in range(8))
        conf = folder / "nginx.conf"
        conf.write_text(_NGINX.format(folder=folder, long=long, many=many, **ports))
        command = ("nginx", "-p", str(folder), "-c", str(conf), "-e", str(folder / "error.log"))
        with serving(folder, *command, tcp=tuple(ports.values())):
            yield Nginx(folder, **ports)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _content(folder: Path, authority: trustme.CA) -> None:
    www = folder / "www"
    www.mkdir()
    (www / "file").write_bytes(FILE)
    (www / "slow").write_bytes(FILE)
    (www / "ssi").write_text("<!--# echo var='request_uri' -->" + "chunk " * 500)
    (www / "zipped").write_bytes(b"plain as day" * 100)
    (www / "zipped.gz").write_bytes(gzip.compress(b"plain as day" * 100))
    (www / "huge").write_bytes(b"h" * (3 << 20))
    (folder / "users").write_text("ada:{PLAIN}s3cret-of-ada\n")
    issued = authority.issue_cert("localhost", "127.0.0.1")
    (folder / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))


_TINYPROXY = """
Port {port}
Listen 127.0.0.1
Timeout 5
MaxClients 20
Allow 127.0.0.1
LogFile "{folder}/log"
LogLevel Info
PidFile "{folder}/pid"
ConnectPort {allowed}
{more}
"""


@contextlib.contextmanager
def tinyproxy(allowed: int, more: str = "") -> Iterator[tuple[int, Path]]:
    """(port, log) of a forward proxy that tunnels to one port only."""
    folder = Path(tempfile.mkdtemp(prefix="pm-proxy-"))
    try:
        port = free_port()
        conf = folder / "conf"
        conf.write_text(_TINYPROXY.format(port=port, folder=folder, allowed=allowed, more=more))
        with serving(folder, "tinyproxy", "-d", "-c", str(conf), tcp=(port,)):
            yield port, folder / "log"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
