"""A local viewer: an image of any size and what was found in it, as tiles that a browser asks for.

Files flow in; tiles, values of pixels and a page flow out, over loopback only. `levels` is the arithmetic of tiles, `scene`
reads them, `layers` paints them, `legend` knows classes, `opening` finds the files, `server` answers.
"""

from patchseg.view.show import view

__all__ = ["view"]
