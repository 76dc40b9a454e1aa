"""The verb: an image and its mask in, a viewer in the browser until it is stopped."""

import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

from patchseg.parameters import DataParameters
from patchseg.progress import Progress
from patchseg.view.opening import open_shown
from patchseg.view.server import Server


def view(
    image: Path | str,
    mask: Path | str | None = None,
    *,
    data: DataParameters = DataParameters(),
    port: int = 0,
    browser: bool = True,
    ready: Callable[[Server], None] | None = None,
    progress: Progress | None = None,
) -> None:
    """Look at an image of any size, with the mask and what else `infer` has written of it above; blocks until Ctrl-C.

    Only this machine is answered, under an address with a random token. Beside the mask are looked for, in the
    folders probabilities, confidence and disagreement, the layers of the same name, and parameters.effective.json for the classes.

    Args:
        image: Any image that can be read.
        mask: Of the same rows and columns.
        data: Which page and channels; classes, where nothing beside the mask tells them.
        port: To listen at; 0 for any that is free.
        browser: Whether the page is opened in the browser.
        ready: Called with the server once it listens; `url` is where.
        progress: Told of what reading costs, and of damage.

    Raises:
        UsageError: The port cannot be used.
        DataError: A file is missing, damaged, or not of the image's size.
    """
    progress = progress or Progress()
    shown = open_shown(Path(image), None if mask is None else Path(mask), data, progress)
    try:
        with Server(shown, port=port, progress=progress) as server:
            if ready is not None:
                ready(server)
            if browser:
                # Not in this thread: browsers for terminals return when they are left.
                threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
            server.run()
    except KeyboardInterrupt:  # how it is ended
        return
    finally:
        shown.close()
