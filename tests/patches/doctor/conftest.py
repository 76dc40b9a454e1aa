import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

import patchseg
from patchseg.parameters import DataParameters, PrepareParameters
from patchseg.patches.doctor.checkup import check


@pytest.fixture(scope="session")
def clean_set(tmp_path_factory):
    """Make 10 gray images of 128 x 96 with 3 classes; read only."""
    folder = tmp_path_factory.mktemp("clean")
    patchseg.synth(
        folder / "data", parameters=patchseg.SynthParameters(train=10, test=0, height=128, width=96)
    )
    return folder / "data/train"


class Set:
    """A data set of one's own to spoil: folder/images and folder/masks, 0000.png to 0009.png."""

    def __init__(self, folder):
        self.images, self.masks = folder / "images", folder / "masks"

    def image(self, number):
        return self.images / f"{number:04}.png"

    def mask(self, number):
        return self.masks / f"{number:04}.png"

    @property
    def numbers(self):
        return range(10)

    def check(self, *, data=None, html=None, progress=None, **values):
        """Check it with patches of 32; parameters of prepare as keywords."""
        return check(
            self.images, self.masks, parameters=PrepareParameters(**({"patch": 32} | values)),
            data=data or DataParameters(), html=html, progress=progress,
        )  # fmt: skip

    def found(self, **values):
        """Return {kind: finding}; each kind is found once."""
        findings = self.check(**values).findings
        assert len({finding.kind for finding in findings}) == len(findings), findings
        return {finding.kind: finding for finding in findings}

    def only(self, kind, **values):
        """Return the one finding there is."""
        found = self.found(**values)
        assert list(found) == [kind], [str(finding) for finding in found.values()]
        return found[kind]


@pytest.fixture
def dataset(clean_set, tmp_path):
    shutil.copytree(clean_set / "images", tmp_path / "images")
    shutil.copytree(clean_set / "masks", tmp_path / "masks")
    return Set(tmp_path)


def read(file):
    """Return the pixels of a file as they are stored."""
    if file.suffix == ".tif":
        return tifffile.imread(file)
    with Image.open(file) as image:
        return np.array(image)


def save(file, pixels, **options):
    """Write pixels; whatever has the same stem is replaced."""
    for old in file.parent.glob(f"{file.stem}.*"):
        old.unlink()
    if file.suffix == ".tif":
        tifffile.imwrite(file, pixels, **options)
    else:
        Image.fromarray(pixels).save(file, **options)
    return file


@pytest.fixture(scope="session")
def files():
    """Return the functions that read and write pixels."""
    return read, save
