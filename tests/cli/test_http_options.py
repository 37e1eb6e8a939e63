"""The options of http: what they ask for, what they refuse, and that credentials stay where they belong."""

import base64
import io
from pathlib import Path

import pytest
from probemesh_controller.cli.keeping import without_secrets
from probemesh_controller.cli.specs.http import HttpAsked, sends_in_the_clear
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.model import HttpSpec, Options
from probemesh_shared.targets import parse_target

SECRET = "s3cr3t-of-ours"


def spec(**asked) -> HttpSpec:
    return HttpAsked(**asked).spec(Options(), None)


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(f"ada:{SECRET}\nsecond line\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        ({}, HttpSpec()),
        ({"http_version": "auto"}, HttpSpec()),
        ({"http_version": "HTTP/2"}, HttpSpec(http_version="2")),
        ({"http_version": "1.1"}, HttpSpec(http_version="1.1")),
        ({"data": "a=b"}, HttpSpec(method="POST", body=b"a=b")),
        ({"data": "hex:00ff", "method": "put"}, HttpSpec(method="PUT", body=b"\x00\xff")),
        ({"data": ""}, HttpSpec(method="POST", body=b"")),
        ({"follow": True}, HttpSpec(follow=10)),
        ({"max_redirects": 3}, HttpSpec(follow=3)),
        ({"follow": True, "max_redirects": 20}, HttpSpec(follow=20)),
        ({"proxy": "http://Proxy.example:3128"}, HttpSpec(proxy="proxy.example:3128")),
        ({"proxy": "http://[2001:DB8::1]:80/"}, HttpSpec(proxy="[2001:db8::1]:80")),
        ({"proxy": "proxy:1"}, HttpSpec(proxy="proxy:1")),
        ({"range": "0-1023"}, HttpSpec(headers=(("Range", "bytes=0-1023"),))),
        ({"range": "-5"}, HttpSpec(headers=(("Range", "bytes=-5"),))),
        ({"range": "bytes=5-"}, HttpSpec(headers=(("Range", "bytes=5-"),))),
        ({"if_none_match": '"abc"'}, HttpSpec(headers=(("If-None-Match", '"abc"'),))),
        (
            {"if_modified_since": "Wed, 21 Oct 2015 07:28:00 GMT"},
            HttpSpec(headers=(("If-Modified-Since", "Wed, 21 Oct 2015 07:28:00 GMT"),)),
        ),
        (
            {"headers": ["X-A: 1", "authorization: Bearer x", "Cookie: a=b"]},
            HttpSpec(
                headers=(("X-A", "1"),), secret_headers=(("authorization", "Bearer x"), ("Cookie", "a=b"))
            ),
        ),
    ],
)
def test_what_they_ask_for(asked, made) -> None:
    assert spec(**asked) == made


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"http_version": "3"}, "no version of HTTP"),
        ({"method": "CONNECT"}, "for proxies"),
        ({"data": "x" * 65537}, "larger than"),
        ({"data": "hex:0"}, "not hexadecimal"),
        ({"data": "@/no/such/file"}, "/no/such/file cannot be read: No such file"),
        ({"data": "@/dev/zero"}, "larger than 64 KiB"),
        ({"max_redirects": 0}, "--max-redirects 0 is out of range"),
        ({"max_redirects": 21}, "--max-redirects 21 is out of range"),
        ({"proxy": "https://p:1"}, "spoken to by https"),
        ({"proxy": "socks5://p:1"}, "spoken to by socks5"),
        ({"proxy": "http://p"}, "not HOST:PORT"),
        ({"proxy": "http://p:1,2"}, "not HOST:PORT"),
        ({"proxy": f"http://ada:{SECRET}@p:1"}, "--proxy-auth FILE"),
        ({"proxy_auth": "/dev/null"}, "none is named"),
        ({"range": "5"}, "no range"),
        ({"range": "9-5"}, "runs backwards"),
        ({"range": "-"}, "no range"),
        ({"auth_basic": "a", "auth_bearer": "b"}, "exclude each other"),
        ({"auth_bearer": "-", "data": "@-"}, "stdin"),
        ({"auth_bearer": "/dev/null"}, "is empty"),
        ({"auth_basic": "/no/such"}, "--auth-basic /no/such cannot be read: No such file"),
        ({"auth_basic": "/dev/zero"}, "larger than"),
        ({"headers": ["authorization: @token.txt"]}, "--auth-bearer FILE or --auth-basic FILE"),
        ({"headers": ["Proxy-Authorization:@x"]}, "--proxy-auth FILE"),
        ({"headers": ["Content-Length: 5"]}, "Content-Length cannot be given"),
        ({"headers": ["Transfer-Encoding: chunked"]}, "Transfer-Encoding cannot be given"),
    ],
)
def test_what_they_refuse(asked, words) -> None:
    with pytest.raises(InvalidRequest) as refused:
        spec(**asked)
    assert words in f"{refused.value} {refused.value.hint}" and SECRET not in str(refused.value)


def test_a_url_with_a_password_is_told_where_it_belongs() -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_target(f"https://ada:{SECRET}@h/")
    assert "--auth-basic FILE" in str(refused.value.hint) and SECRET not in str(refused.value)


def test_credentials_come_from_a_file_and_are_in_no_text(secret_file: Path) -> None:
    made = spec(auth_basic=str(secret_file))
    token = base64.b64encode(f"ada:{SECRET}".encode()).decode()
    assert made.secret_headers == (("Authorization", f"Basic {token}"),)
    assert token not in repr(made) and SECRET not in repr(made) and "ada" not in repr(made)
    both = spec(auth_basic=str(secret_file), proxy="p:1", proxy_auth=str(secret_file))
    assert [name for name, _ in both.secret_headers] == ["Authorization", "Proxy-Authorization"]
    with pytest.raises(InvalidRequest, match="exclude each other"):
        spec(auth_basic=str(secret_file), headers=["Authorization: Bearer x"])


def test_a_token_has_no_blanks_and_a_user_a_password(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("abc.def-ghi\r\n")
    assert spec(auth_bearer=str(path)).secret_headers == (("Authorization", "Bearer abc.def-ghi"),)
    for text, option in (("a b", "auth_bearer"), ("nocolon", "auth_basic"), ("a:b\x1b[0m", "auth_basic")):
        path.write_text(text)
        with pytest.raises(InvalidRequest):
            spec(**{option: str(path)})
    path.write_bytes(b"\xff:\xfe")
    with pytest.raises(InvalidRequest, match="UTF-8"):
        spec(auth_basic=str(path))


def test_stdin_holds_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(b"token-from-stdin\n")

    monkeypatch.setattr("sys.stdin", Stdin())
    assert spec(auth_bearer="-").secret_headers == (("Authorization", "Bearer token-from-stdin"),)


def test_a_file_that_others_can_read_is_warned_of(secret_file: Path, capsys: pytest.CaptureFixture) -> None:
    spec(auth_basic=str(secret_file))
    assert not capsys.readouterr().err
    secret_file.chmod(0o644)
    spec(auth_basic=str(secret_file))
    assert "can be read by others" in capsys.readouterr().err


def test_credentials_in_the_clear_are_known_before_they_are_sent(secret_file: Path) -> None:
    targets = [parse_target(text) for text in ("http://a.example/", "https://b.example/")]
    assert sends_in_the_clear(spec(auth_basic=str(secret_file)), targets) == ["http://a.example/"]
    assert sends_in_the_clear(spec(proxy="p:1", proxy_auth=str(secret_file)), targets) == []
    assert sends_in_the_clear(spec(), targets) == []


def test_a_body_is_not_kept_with_the_command_line() -> None:
    typed = ("probe", "http://h/", "--data", f"password={SECRET}", f"--data={SECRET}", "--data", "@f.json")
    kept = without_secrets(typed)
    assert SECRET not in " ".join(kept) and kept[-1] == "@f.json"
