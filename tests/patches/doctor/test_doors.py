import numpy as np
from PIL import Image

from patchseg.patches.doctor.doors import Doors
from patchseg.patches.pairs import Pair


def test_the_size_of_an_image_is_known_before_it_is_decoded(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40), dtype=np.uint8)).save(
        tmp_path / "a.png"
    )
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    np.save(tmp_path / "c.npy", np.zeros((12, 9, 2)))
    (tmp_path / "d.tif").write_bytes(b"II")
    sizes = [Doors().size(Pair(name, tmp_path / name, None)) for name in ("a.png", "b.png", "c.npy", "d.tif")]
    assert sizes == [(30, 40), (30, 40), (12, 9), None]
