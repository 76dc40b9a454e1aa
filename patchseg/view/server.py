"""The answers of the viewer: addresses in, tiles and values out, to whoever knows the token.

Addresses name layers and numbers, never files. A token that cannot be guessed keeps other users of the machine out, and other
pages of the browser.
"""

import json
import secrets
import threading
from collections import OrderedDict
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

from patchseg.errors import PatchsegError, UsageError
from patchseg.progress import Progress
from patchseg.view.layers import Layer
from patchseg.view.listener import HOST, Answer, Listener
from patchseg.view.opening import Shown
from patchseg.view.scene import Scene

_KEPT = 24 * 2**20  # bytes of tiles
_STATIC = {
    "": ("index.html", "text/html; charset=utf-8"),
    "viewer.css": ("viewer.css", "text/css; charset=utf-8"),
    "viewer.js": ("viewer.js", "text/javascript; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
    "openseadragon.min.js": ("openseadragon.min.js", "text/javascript; charset=utf-8"),
}


class Tiles:
    """Tiles that were made last, by their address; safe to use from several threads."""

    def __init__(self, capacity: int = _KEPT) -> None:
        self._capacity, self._held = capacity, 0
        self._tiles: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, address: str) -> bytes | None:
        """Return a tile that is kept."""
        with self._lock:
            if address in self._tiles:
                self._tiles.move_to_end(address)
            return self._tiles.get(address)

    def put(self, address: str, tile: bytes) -> None:
        """Keep a tile; those asked for longest ago leave."""
        with self._lock:
            self._held += len(tile) - len(self._tiles.pop(address, b""))
            self._tiles[address] = tile
            while self._held > self._capacity:
                self._held -= len(self._tiles.popitem(last=False)[1])


class Server:
    """Answers for one viewer. A context manager; it listens from the beginning.

    Args:
        shown: What is looked at; stays open.
        port: To listen at; 0 for any that is free.
        progress: Told of files that turn out to be damaged.

    Raises:
        UsageError: The port is taken, or needs rights.
    """

    def __init__(self, shown: Shown, *, port: int = 0, progress: Progress | None = None) -> None:
        self.shown, self._progress = shown, progress or Progress()
        self.token = secrets.token_urlsafe(24)
        self._layers = {layer.id: layer for layer in shown.layers}
        self._tiles, self._told = Tiles(), set[str]()
        self._stop, self._wanted = threading.Event(), threading.Event()
        self._asked: list[Scene] = []
        try:
            self._http = Listener(port, self.answer, self.tell)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise UsageError(
                f"port {port}: cannot be used ({str(why).lower()}); choose another with --port"
            ) from None
        self.url = f"http://{HOST}:{self._http.port}/{self.token}/"
        self._worker = threading.Thread(target=self._complete, name="overview", daemon=True)

    def run(self) -> None:
        """Answer until the process is interrupted, or `stop` is called."""
        self._worker.start()
        self._http.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """Let `run` return; called from another thread."""
        self._http.shutdown()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._wanted.set()
        self._http.server_close()
        if self._worker.is_alive():
            self._worker.join()

    def answer(self, address: str) -> Answer | None:
        """Return the content at an address, and its type; None where there is nothing.

        Raises:
            PatchsegError: A file is damaged.
        """
        place, _, query = address.partition("?")
        token, slash, rest = place.removeprefix("/").partition("/")
        if not slash or not secrets.compare_digest(token.encode(), self.token.encode()):
            return None
        path = rest.split("/")
        if len(path) == 1 and path[0] in _STATIC:
            name, kind = _STATIC[path[0]]
            return files("patchseg.view").joinpath("static", name).read_bytes(), kind
        if path == ["about.json"]:
            return _json(self.shown.describe())
        if path == ["pixel.json"]:
            return self._pixel(query)
        if len(path) == 4 and path[0] == "tiles":
            return self._tile(path)
        return None

    def tell(self, error: Exception) -> str:
        """Tell of what went wrong, once each, and return the sentence."""
        sentence = (
            str(error) if isinstance(error, PatchsegError) else f"unexpected {type(error).__name__}: {error}"
        )
        if sentence not in self._told:
            self._told.add(sentence)
            self._progress.say(sentence)
        return sentence

    def _pixel(self, query: str) -> Answer | None:
        words = parse_qs(query)
        numbers = [_number(words.get(name, [""])[0]) for name in ("row", "column")]
        found = None if None in numbers else self.shown.pixel(*(int(number or 0) for number in numbers))
        return None if found is None else _json(found)

    def _tile(self, path: list[str]) -> Answer | None:
        layer, level = self._layers.get(path[1]), _number(path[2])
        column, _, row = path[3].removesuffix(".png").partition("_")
        numbers = _number(column), _number(row)
        if layer is None or level is None or None in numbers or not path[3].endswith(".png"):
            return None
        address = f"{layer.id}/{level}/{numbers}"
        tile = self._tiles.get(address) or self._make(
            layer, address, level, int(numbers[0] or 0), int(numbers[1] or 0)
        )
        return None if tile is None else (tile, "image/png")

    def _make(self, layer: Layer, address: str, level: int, column: int, row: int) -> bytes | None:
        made = layer.tile(level, column, row)
        if made is None:
            return None
        tile, final = made
        if final:
            self._tiles.put(address, tile)
        elif layer.scene not in self._asked:
            self._asked.append(layer.scene)
            self._wanted.set()
        return tile

    def _complete(self) -> None:
        """Make overviews true, one after the other, in the order in which they were looked at."""
        done = 0
        while not self._stop.is_set():
            self._wanted.wait()
            self._wanted.clear()
            while done < len(self._asked) and not self._stop.is_set():
                try:
                    self._asked[done].complete(self._stop)
                except Exception as error:  # noqa: BLE001 - the others are looked at all the same
                    self.tell(error)
                    self._asked[done].finished = True  # as far as it goes
                done += 1


def _number(text: str) -> int | None:
    """Return a number from 0 on that is written plainly, else None.

    >>> _number("12"), _number("-1"), _number("1_0"), _number("²")
    (12, None, None, None)
    """
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _json(content: dict[str, Any]) -> Answer:
    # NaN and infinity are no JSON, and a browser would refuse all of it.
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, float) and value - value != 0 else value

    return json.dumps(plain(content), allow_nan=False).encode(), "application/json"
