"""Serve a viewer to browsers of this machine, and to nobody else.

The server listens on the loopback address. What it serves lies under a token that nobody can guess,
and is named by numbers: no part of an address is ever a path. It answers only GET and HEAD, and
only if the browser asked for this machine by name, so that a page of another site cannot read from
it by having its own name lead here (DNS rebinding).
"""

import hmac
import re
import secrets
import socketserver
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from diffrect.console import show_traceback
from diffrect.errors import InputError
from diffrect.viewing.parts import Parts

ADDRESS = "127.0.0.1"
_PATH = re.compile(r"/([\w-]+)/(?:data/(\d{1,6})/(scan|\d{1,4}))?", re.ASCII)
_TIMEOUT = 60  # seconds in which a request has to arrive
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class ViewServer(ThreadingHTTPServer):
    """Serves one page and the data that it asks for; see the module."""

    daemon_threads = True

    def __init__(self, page: str, policy: str, parts: Parts, port: int = 0) -> None:
        """Listen.

        Args:
            page: the HTML.
            policy: its Content-Security-Policy.
            parts: the data.
            port: to listen on; 0 for one that is free.

        Raises:
            InputError: another program listens there.
        """
        self.page, self.policy, self.parts = page.encode(), policy, parts
        self.token = secrets.token_urlsafe(24)
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            raise InputError("--port", "a free port", got=port, reason=error.strerror) from None

    def server_bind(self) -> None:
        """Take the port, without asking the network what this machine is called."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = ADDRESS, self.server_address[1]

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{ADDRESS}:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over a browser that left in the middle of an answer."""


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer
    server_version, sys_version = "diffrect", ""
    protocol_version = "HTTP/1.1"
    timeout = _TIMEOUT

    def parse_request(self) -> bool:
        """Refuse what no page of ours asks for before anything is looked up."""
        if not super().parse_request():
            return False
        if self.command not in ("GET", "HEAD"):
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED)
        elif not self._is_ours():
            self._refuse(HTTPStatus.FORBIDDEN)
        else:
            return True
        return False

    def do_GET(self) -> None:
        """Answer with the page, a scan or a layer."""
        found = _PATH.fullmatch(self.path)
        if found is None or not hmac.compare_digest(found[1], self.server.token):
            self._refuse(HTTPStatus.NOT_FOUND)
        elif found[2] is None:
            self._answer(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)
        else:
            self._send_part(int(found[2]), None if found[3] == "scan" else int(found[3]))

    do_HEAD = do_GET  # noqa: N815  the name is the library's

    def _send_part(self, case: int, layer: int | None) -> None:
        plain = "text/plain; charset=utf-8"
        try:
            content = self.server.parts.part(case, layer)
        except IndexError:
            self._refuse(HTTPStatus.NOT_FOUND)
        except (InputError, OSError) as error:
            self._answer(HTTPStatus.UNPROCESSABLE_ENTITY, plain, str(error).encode())
        except Exception as error:  # a fault of the program, which must not end the server
            show_traceback(error)
            words = b"a fault of diffrect; its terminal says more"
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, plain, words)
        else:
            self._answer(HTTPStatus.OK, "application/gzip", content)

    def _is_ours(self) -> bool:
        """Return whether a browser asked for this machine, and no page of another site told it."""
        port = self.server.server_port
        names = [f"{name}:{port}" for name in (ADDRESS, "localhost")]
        hosts = self.headers.get_all("Host", [])
        origin = self.headers.get("Origin")
        return (
            len(hosts) == 1
            and hosts[0] in names
            and (origin is None or origin in [f"http://{name}" for name in names])
            and self.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
        )

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True  # a body that nobody read may follow
        self._answer(status, "text/plain; charset=utf-8", status.phrase.encode())

    def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        headers = {
            **_HEADERS,
            "Content-Security-Policy": self.server.policy,
            "Content-Type": kind,
            "Content-Length": str(len(content)),
        }
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = "GET, HEAD"
        if self.close_connection:
            headers["Connection"] = "close"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse a request that is none, without repeating what it says."""
        self._refuse(HTTPStatus(code))

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: the terminal is for the user."""
