"""HTTP on loopback: requests in, answers out, refusing what a page of another origin could ask for.

The check of the host keeps out names that were made to point at this machine (DNS rebinding).
"""

import socketserver
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"
_NAMES = (HOST, "localhost")  # under which a browser may ask for it
_STYLE = (
    "sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE="  # the one that OpenSeadragon writes into the page
)
_HEADERS = {
    "Content-Security-Policy": f"default-src 'self'; style-src 'self' '{_STYLE}'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    # What is looked at stays out of the browser's files.
    "Cache-Control": "no-store",
}

Answer = tuple[bytes, str]  # content and its type


class Listener(ThreadingHTTPServer):
    """Listens on loopback.

    Args:
        port: To listen at; 0 for any that is free.
        answers: From an address to what is there, or None.
        tell: Told of what goes wrong; returns a sentence about it.

    Raises:
        OSError: The port cannot be used.
        OverflowError: There is no such port.
    """

    daemon_threads = True

    def __init__(
        self, port: int, answers: Callable[[str], Answer | None], tell: Callable[[Exception], str]
    ) -> None:
        self.answers, self.tell = answers, tell
        super().__init__((HOST, port), _Handler)
        self.port = int(self.server_address[1])
        self.hosts = {f"{name}:{self.port}" for name in _NAMES}

    def server_bind(self) -> None:
        """Bind without asking for the name of this machine, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of browsers that hang up."""


class _Handler(BaseHTTPRequestHandler):
    server: Listener
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "patchseg", ""
    timeout = 60  # seconds that a connection may be silent

    def do_GET(self) -> None:
        self._respond()

    def do_HEAD(self) -> None:
        self._respond()

    def _refuse(self) -> None:
        self.close_connection = True  # what it sends is not read
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, b"", Allow="GET, HEAD", Connection="close")

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _respond(self) -> None:
        if self.headers.get("Host") not in self.server.hosts:
            self._send(HTTPStatus.FORBIDDEN, b"this address is for this machine only\n")
            return
        try:
            found = self.server.answers(self.path)
        except Exception as error:  # noqa: BLE001 - a tile that fails leaves the others as they are
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, self.server.tell(error).encode("utf-8", "replace"))
            return
        if found is None:
            self._send(HTTPStatus.NOT_FOUND, b"there is nothing here\n")
        else:
            self._send(HTTPStatus.OK, *found)

    def _send(
        self, status: HTTPStatus, content: bytes, kind: str = "text/plain; charset=utf-8", **headers: str
    ) -> None:
        self.send_response(status)
        headers |= {"Content-Type": kind, "Content-Length": str(len(content))}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep no record of what is looked at."""
