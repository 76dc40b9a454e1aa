"""The snippet of docs/export.md runs as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import patchseg

PAGE = Path(patchseg.__file__).parents[1] / "docs/export.md"


@pytest.mark.parametrize("channels", [1, 3])
def test_the_consumer_in_python_gives_the_mask(make, graph, noise, tmp_path, monkeypatch, capsys, channels):  # noqa: PLR0917 - fixtures
    monkeypatch.chdir(tmp_path)
    pixels = noise(50, 37, channels)
    Image.fromarray(pixels.squeeze()).save("image.png")
    (tmp_path / "model.onnx").write_bytes(graph(channels, 3))
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    names = {}
    exec(code, names)
    make(channels, 3).save(tmp_path / "best.pt")
    one_tile = patchseg.engine_of(
        tmp_path / "best.pt", patchseg.InferParameters(tile=64, threads=1, device="cpu")
    )
    assert np.array_equal(names["mask"], patchseg.predict(pixels, one_tile))
    assert capsys.readouterr().out.startswith("{'class 0': ")
