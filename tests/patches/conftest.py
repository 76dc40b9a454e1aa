import h5py
import numpy as np
import pytest
from PIL import Image

from patchseg.parameters import DataParameters, PrepareParameters
from patchseg.patches.prepare import prepare


@pytest.fixture(scope="session")
def write():
    """Write noise (H, W, 3) and masks of 3 classes into folder/images and folder/masks; return the two folders."""

    def write(folder, shapes, *, seed=0, ignored=0.0):
        draw = np.random.default_rng(seed)
        images, masks = folder / "images", folder / "masks"
        images.mkdir(parents=True, exist_ok=True)
        masks.mkdir(exist_ok=True)
        for name, shape in shapes.items():
            Image.fromarray(draw.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(images / f"{name}.png")
            mask = draw.integers(0, 3, shape, dtype=np.uint8)
            mask[draw.random(shape) < ignored] = 255
            mask.flat[:3] = 0, 1, 2
            Image.fromarray(mask).save(masks / f"{name}.png")
        return images, masks

    return write


@pytest.fixture(scope="session")
def run():
    """Prepare folder/patches.h5 out of folder/images and folder/masks; parameters of prepare as keywords."""

    def run(folder, *, data=None, overwrite=False, progress=None, **values):
        values = {
            "output": str(folder / "patches.h5"),
            "patch": 16,
            "per_image": 5,
            "validation": 0.34,
        } | values
        return prepare(
            folder / "images", folder / "masks", parameters=PrepareParameters(**values),
            data=data or DataParameters(), overwrite=overwrite, progress=progress,
        )  # fmt: skip

    return run


@pytest.fixture(scope="session")
def everything():
    """Return all datasets of an HDF5 file by name, and its attributes by name@attribute."""

    def everything(path):
        found = {}

        def take(name, item):
            found.update({f"{name}@{key}": value for key, value in item.attrs.items()})
            if isinstance(item, h5py.Dataset):
                found[name] = item[()]

        with h5py.File(path) as file:
            take("", file)
            file.visititems(take)
        return found

    return everything
