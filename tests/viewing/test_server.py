"""The server: this machine only, under a token only, by numbers only, to read only."""

import http.client
import socket
import threading
from collections.abc import Iterator

import pytest

from diffrect.errors import InputError
from diffrect.viewing.gallery import Gallery, Layer, ShownCase
from diffrect.viewing.parts import Parts
from diffrect.viewing.server import ADDRESS, ViewServer
from support.viewers import gallery, volume


@pytest.fixture
def server() -> Iterator[ViewServer]:
    yield from served(gallery())


def served(shown: Gallery) -> Iterator[ViewServer]:
    with ViewServer("<p>page</p>", "default-src 'none'", Parts(shown)) as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def ask(server: ViewServer, path: str, method: str = "GET", **headers: str):
    """The status, the headers and the content of an answer."""
    connection = http.client.HTTPConnection(ADDRESS, server.server_port, timeout=10)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), content


def ask_plainly(server: ViewServer, request: bytes) -> bytes:
    """What comes back for bytes that no library would send."""
    with socket.create_connection((ADDRESS, server.server_port), timeout=10) as wire:
        wire.sendall(request)
        wire.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: wire.recv(65536), b""))


def test_the_page_and_its_data_lie_under_the_token(server):
    status, headers, content = ask(server, f"/{server.token}/")
    assert (status, content) == (200, b"<p>page</p>")
    assert server.url == f"http://127.0.0.1:{server.server_port}/{server.token}/"
    assert len(server.token) >= 32
    assert headers["Content-Security-Policy"] == "default-src 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Python" not in headers["Server"]
    for part in ("data/0/scan", "data/0/0", "data/1/1"):
        status, headers, content = ask(server, f"/{server.token}/{part}")
        assert (status, content[:2]) == (200, b"\x1f\x8b")
        assert headers["Content-Type"] == "application/gzip"


def test_two_servers_have_two_tokens_and_ports(server):
    with ViewServer("", "", Parts(gallery())) as other:
        assert other.token != server.token
        assert other.server_port != server.server_port


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/favicon.ico", "/data/0/scan", "/token/", "/TOKEN", "/TOKEN?", "/TOKEN/?a=1"),
        *("/TOKEN/index.html", "/TOKEN/../", "/TOKEN/../../etc/passwd", "/TOKEN/data/"),
        *("/TOKEN/data/0/", "/TOKEN/data/0/scan/", "/TOKEN//", "/TOKEN/data/-1/scan"),
        *("/TOKEN/data/2/scan", "/TOKEN/data/0/3", "/TOKEN/data/0/%2e%2e", "/TOKEN/data/1e0/scan"),
        *("/TOKEN/data/0/scan%00", "/TOKEN/%2e%2e/%2e%2e/etc/passwd", "/TOKENx/", "/xTOKEN/"),
        *("/TOKEN/data/٠/scan", "/TOKEN/data/9999999/scan", "http://127.0.0.1/TOKEN/"),
    ],
)
def test_nothing_else_is_there(path, server):
    request = f"GET {path.replace('TOKEN', server.token)} HTTP/1.1\r\n".encode()
    request += f"Host: 127.0.0.1:{server.server_port}\r\n\r\n".encode()
    answer = ask_plainly(server, request)
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 ")), answer[:80]
    assert b"root:" not in answer
    assert server.token.encode() not in answer


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:PORT"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:1"},
        {"Host": "127.0.0.1:PORT.evil.example"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_a_page_of_another_site_gets_nothing(headers, server):
    headers = {k: v.replace("PORT", str(server.server_port)) for k, v in headers.items()}
    for path in (f"/{server.token}/", f"/{server.token}/data/0/scan"):
        status, _, content = ask(server, path, **headers)
        assert (status, content) == (403, b"Forbidden")


def test_a_request_of_two_hosts_or_of_none_gets_nothing(server):
    host = f"Host: 127.0.0.1:{server.server_port}\r\n"
    for hosts in ("", host + "Host: evil.example\r\n", host + host):
        request = f"GET /{server.token}/ HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n"
        assert ask_plainly(server, request.encode()).startswith(b"HTTP/1.1 403 ")


def test_this_machine_may_be_called_localhost(server):
    host = f"localhost:{server.server_port}"
    status, _, _ = ask(server, f"/{server.token}/", Host=host, Origin=f"http://{host}")
    assert status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO"])
def test_nothing_but_reading_is_answered(method, server):
    status, headers, content = ask(server, f"/{server.token}/", method)
    assert (status, content) == (405, b"Method Not Allowed")
    assert headers["Allow"] == "GET, HEAD"


def test_head_says_how_long_the_page_is_and_sends_none(server):
    status, headers, content = ask(server, f"/{server.token}/", "HEAD")
    assert (status, headers["Content-Length"], content) == (200, "11", b"")


@pytest.mark.parametrize(
    "request_line",
    [b"", b"\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n"],
)
def test_nonsense_does_not_end_the_server(request_line, server):
    ask_plainly(server, request_line)
    assert ask(server, f"/{server.token}/")[0] == 200


def test_only_the_loopback_address_listens(server):
    assert server.socket.getsockname()[0] == "127.0.0.1"


def test_a_layer_that_cannot_be_read_comes_as_its_line(capsys):
    def bad(image):
        raise InputError("b.nii", "a readable file", found="<script>")

    def faulty(image):
        raise RuntimeError("our fault")

    layers = (Layer("a", "label", bad), Layer("b", "label", faulty))
    shown = Gallery("x", (ShownCase("x", lambda: volume(0), layers),))
    for server in served(shown):
        status, headers, content = ask(server, f"/{server.token}/data/0/0")
        assert (status, content) == (422, b"b.nii: expected a readable file, found <script>")
        assert headers["Content-Type"] == "text/plain; charset=utf-8"
        status, _, content = ask(server, f"/{server.token}/data/0/1")
        assert (status, content) == (500, b"a fault of diffrect; its terminal says more")
        assert ask(server, f"/{server.token}/data/0/scan")[0] == 200
    assert "our fault" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(server):
    port = server.server_port
    with pytest.raises(InputError, match=f"--port: expected a free port, got {port}: Address"):
        ViewServer("", "", Parts(gallery()), port)
