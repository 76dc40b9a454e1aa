"""The runs of docs/results.md: prepare, train --time 5m, infer, evaluate on small data sets, by the command line.

    python benchmarks/small_sets.py DATA OUT [NAME ...]

DATA holds a folder a data set: `synth_lines` (split by its authors: images/{train,test}, masks/{train,test}), and
`nist_cells` and `dsb2018` (images, masks), of which every fifth image in natural order is kept for the test. OUT gets a folder
a data set with all that the commands write. Nothing of the test images is seen by prepare or train.
"""

import json
import platform
import shlex
import subprocess
import sys
from pathlib import Path

from patchseg.patches.pairs import find_pairs

SETS = ("synth_lines", "nist_cells", "dsb2018")
TIME = "5m"


def commands(name: str, data: Path, folder: Path) -> list[str]:
    """Return the commands of one data set; its test images and their masks lie in `folder` afterwards."""
    source = data / name
    if name == "synth_lines":
        images, truth = source / "images/test", source / "masks/test"
        wanted = f"{source / 'images/train'} {source / 'masks/train'}"
    else:
        images, truth, wanted = *_hold_out(source, folder), "train.txt"
    return [
        f"patchseg prepare {wanted} --per-image 60 --validation 0.1",
        f"patchseg train --time {TIME} -b 4",
        f"patchseg infer {images} -m checkpoints/patches/best.pt",
        f"patchseg evaluate masks {truth}",
        "patchseg report masks/scores.json --run runs/patches",
    ]


def _hold_out(source: Path, folder: Path) -> tuple[str, str]:
    """Keep every fifth pair for the test, as links, and list the others in train.txt."""
    lines = []
    for number, pair in enumerate(find_pairs(source / "images", source / "masks")):
        assert pair.mask is not None
        if number % 5:
            lines.append(f'"{pair.image}" "{pair.mask}"\n')
            continue
        for file, side in ((pair.image, "test"), (pair.mask, "truth")):
            (folder / side).mkdir(exist_ok=True)
            (folder / side / file.name).symlink_to(file)
    (folder / "train.txt").write_text("".join(lines))
    return "test", "truth"


def main(data: Path, out: Path, names: list[str]) -> None:
    """Run the data sets one after the other and print their scores."""
    print(f"{platform.machine()}, Python {platform.python_version()}, {platform.system()}")
    for name in names:
        folder = out / name
        folder.mkdir(parents=True)
        for command in commands(name, data, folder):
            print(f"$ {command}", flush=True)
            subprocess.run([sys.executable, "-m", *shlex.split(command)], cwd=folder, check=True)
        scores = json.loads((folder / "masks/scores.json").read_text())
        print(
            name,
            {key: round(scores[key], 4) for key in ("mean_iou", "mean_iou_foreground", "pixel_accuracy")},
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), sys.argv[3:] or list(SETS))
