"""The server over real sockets: what it gives, and what it refuses."""

import base64
import hashlib
import io
import json
import re
import socket
from http.client import HTTPConnection
from importlib.resources import files

import numpy as np
import pytest
import tifffile
from PIL import Image

from patchseg.errors import DataError, UsageError
from patchseg.progress import Progress
from patchseg.view import view
from patchseg.view.server import Server, Tiles


@pytest.fixture
def server(job, serve) -> Server:
    return serve(job.image, job.mask)


def ask(server: Server, address: str, *, method: str = "GET", host: str | None = None, token: bool = True):
    """Return status, headers and content of an answer."""
    port = int(server.url.split(":")[2].split("/")[0])
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        path = f"/{server.token}/{address}" if token else address
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host or f"127.0.0.1:{port}")
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_the_page_and_all_that_it_names_are_there(server):
    for name, kind in {
        "": "text/html", "viewer.js": "text/javascript", "viewer.css": "text/css", "openseadragon.min.js": "text/javascript",
        "icon.svg": "image/svg+xml", "about.json": "application/json",
    }.items():  # fmt: skip
        status, headers, content = ask(server, name)
        assert (status, headers["Content-Type"].split(";")[0]) == (200, kind)
        assert len(content) == int(headers["Content-Length"]) > 0


def test_every_answer_forbids_what_a_viewer_does_not_need(server):
    for address, token in (
        ("", True),
        ("about.json", True),
        ("tiles/mask/9/0_0.png", True),
        ("/", False),
        ("none", True),
    ):
        _, headers, _ = ask(server, address, token=token)
        assert headers["Content-Security-Policy"].startswith("default-src 'self'; ")
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert not [name for name in headers if name.lower().startswith("access-control")]
        assert "Python" not in headers["Server"]


def test_the_page_holds_no_script_or_style_of_its_own(server):
    page = ask(server, "")[2].decode()
    assert "<style" not in page
    assert " style=" not in page
    assert page.count("<script") == page.count('<script src="') == 2
    assert "://" not in page


def test_the_only_style_that_a_script_may_write_is_that_of_openseadragon(server):
    script = ask(server, "openseadragon.min.js")[2].decode()
    (style,) = re.findall(r'"(@media \(hover: none\) \{.+?\}\})"', script)
    sha256 = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = ask(server, "")[1]["Content-Security-Policy"]
    assert f"; style-src 'self' 'sha256-{sha256}'; " in policy


def test_a_tile_is_the_pixels_of_its_place(server, job):
    status, headers, content = ask(server, "tiles/image/9/1_1.png")
    assert (status, headers["Content-Type"]) == (200, "image/png")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), job.pixels[256:, 256:])
    assert ask(server, "tiles/image/9/1_1.png?3")[2] == content


def test_values_of_a_pixel_are_json(server):
    found = json.loads(ask(server, "pixel.json?row=220&column=120")[2])
    assert (found["row"], found["column"], found["mask"]["name"]) == (220, 120, "ellipse")


@pytest.mark.parametrize(
    "address",
    [
        "none", "about.json/", "/", "tiles", "tiles/mask/9", "tiles/none/9/0_0.png", "tiles/mask/9/0_0", "tiles/mask/9/0_0.jpg",
        "tiles/mask/9/2_0.png", "tiles/mask/9/0_2.png", "tiles/mask/10/0_0.png", "tiles/mask/7/0_0.png", "tiles/mask/-9/0_0.png",
        "tiles/mask/9/-1_0.png", "tiles/mask/9/0.png", "tiles/mask/9/0_0_0.png", "tiles/mask/9/1e0_0.png",
        "tiles/mask/99999999999999999999/0_0.png", "tiles/image/../mask/9/0_0.png", "../../../../etc/passwd", "..%2f..%2fetc%2fpasswd",
        "static/viewer.js", "README.txt", "LICENSE.txt", "index.html", "pixel.json", "pixel.json?row=1", "pixel.json?row=1&column=x",
        "pixel.json?row=300&column=0", "pixel.json?row=-1&column=0",
    ],
)  # fmt: skip
def test_what_is_no_layer_or_pixel_is_not_found(server, address):
    assert ask(server, address)[0] == 404


def test_nothing_is_told_without_the_token(server):
    token = server.token
    for path in (
        "/",
        "/about.json",
        f"/{token}",
        f"/{token[:-1]}/",
        f"/{token}x/",
        "/a/tiles/mask/9/0_0.png",
        "*",
        "/%ff/",
    ):
        status, _, content = ask(server, path, token=False)
        assert (status, content) == (404, b"there is nothing here\n")


def test_a_token_is_long_and_new_each_time(job, serve):
    one, other = serve(job.image), serve(job.image)
    assert one.token != other.token
    assert len(one.token) >= 32
    assert one.url.startswith("http://127.0.0.1:")


def test_other_hosts_are_refused(server):
    port = server.url.split(":")[2].split("/")[0]
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1",
        f"127.0.0.1:{int(port) + 1}",
        f"127.0.0.1.evil.example:{port}",
        " ",
    ):
        assert ask(server, "about.json", host=host)[0] == 403
    assert ask(server, "about.json", host=f"localhost:{port}")[0] == 200


def test_a_request_without_a_host_is_refused(server):
    port = int(server.url.split(":")[2].split("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(f"GET /{server.token}/ HTTP/1.0\r\n\r\n".encode())
        assert b" 403 " in connection.recv(100)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_only_reading_is_allowed(server, method):
    status, headers, content = ask(server, "about.json", method=method)
    assert (status, headers["Allow"], content) == (405, "GET, HEAD", b"")


def test_an_unknown_method_is_refused_too(server):
    assert ask(server, "about.json", method="BREW")[0] == 501


def test_head_tells_the_length_alone(server):
    status, headers, content = ask(server, "viewer.js", method="HEAD")
    assert (status, content) == (200, b"")
    assert int(headers["Content-Length"]) == len(ask(server, "viewer.js")[2])


def test_only_loopback_listens(server):
    assert server._http.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_told(server, job):
    port = int(server.url.split(":")[2].split("/")[0])
    with pytest.raises(
        UsageError,
        match=rf"port {port}: cannot be used \(address already in use\); choose another with --port",
    ):
        view(job.image, port=port, browser=False)


def test_a_damaged_tile_is_told_once_and_leaves_the_others(job, serve):
    said = []

    class Told(Progress):
        def say(self, line: str) -> None:
            said.append(line)

    with tifffile.TiffFile(job.image) as file:
        offset, count = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
    with job.image.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * count)
    server = serve(job.image, progress=Told())
    for _ in range(2):
        status, _, content = ask(server, "tiles/image/9/0_0.png")
        assert (status, b"is truncated or damaged" in content) == (500, True)
    assert ask(server, "tiles/image/9/1_1.png")[0] == 200
    assert len(said) == 1


def test_nan_is_told_as_a_word_since_json_has_none(tmp_path, serve):
    np.save(tmp_path / "a.npy", np.full((20, 20), np.nan, np.float32))
    server = serve(tmp_path / "a.npy")
    assert json.loads(ask(server, "pixel.json?row=1&column=1")[2])["image"] == ["nan"]


def test_nothing_is_served_after_the_end_of_a_missing_image(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        view(tmp_path / "none.tif", browser=False)


def test_tiles_asked_for_longest_ago_leave():
    tiles = Tiles(10)
    tiles.put("a", b"1234")
    tiles.put("b", b"1234")
    assert tiles.get("a") == b"1234"
    tiles.put("c", b"1234")
    assert (tiles.get("a"), tiles.get("b"), tiles.get("c")) == (b"1234", None, b"1234")
    tiles.put("a", b"12345678")
    assert (tiles.get("a"), tiles.get("c")) == (b"12345678", None)
    tiles.put("d", bytes(11))
    assert tiles.get("d") is None


def test_what_is_brought_along_is_the_file_that_its_readme_names_with_its_licence():
    static = files("patchseg.view").joinpath("static")
    told = static.joinpath("README.txt").read_text(encoding="utf-8")
    brought = static.joinpath("openseadragon.min.js").read_bytes()
    assert hashlib.sha256(brought).hexdigest() in told
    assert b"openseadragon 6.1.1" in brought[:100]
    assert "OpenSeadragon 6.1.1" in told
    assert "Redistributions in binary form" in static.joinpath("LICENSE.txt").read_text(encoding="utf-8")
