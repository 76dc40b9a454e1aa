"""How many errors planted into masks `patchseg audit` finds: the table of docs/results.md.

    python benchmarks/auditing.py OUT [--seeds 0 1 2] [--steps 1500] [--simulated]

For each seed a set of `synth` gets three errors of every kind (tests/studies/planting.py), two networks learn from a half of it
each, errors and all, and predict the other half. Found is what is among the first suspects, twice as many as were planted.
`--simulated` takes the predictions of no network but of the true masks, with faults of their own.
"""

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

import patchseg
from patchseg.synth import CLASSES

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/studies"))

from planting import KINDS, plant, predict, recalled, simulate

IMAGES = 20


def audited(folder: Path, seed: int, options: argparse.Namespace) -> dict[str, tuple[int, int]]:
    """Make one set, spoil it, predict and audit it; return what was found of each kind."""
    patchseg.synth(folder / "set", parameters=patchseg.SynthParameters(train=IMAGES, test=0, seed=seed))
    images, masks = (folder / "set/train" / name for name in ("images", "masks"))
    shutil.copytree(masks, folder / "clean")
    planted = plant(masks, seed)
    start = time.perf_counter()
    if options.simulated:
        predicted = simulate(folder / "clean", folder / "masks", CLASSES, seed)
    else:
        predicted = predict(images, masks, folder, steps=options.steps, seed=seed)
    middle = time.perf_counter()
    path = patchseg.audit(predicted, masks, parameters=patchseg.AuditParameters(output=str(folder / "audit")))
    seconds = middle - start, time.perf_counter() - middle
    (folder / "planted.json").write_text(json.dumps([error._asdict() for error in planted]))
    scores = json.loads(
        patchseg.evaluate(
            predicted, folder / "clean", parameters=patchseg.EvaluateParameters(output=str(folder))
        ).read_text()
    )
    document = json.loads(path.read_text())
    print(
        f"seed {seed}: mean IoU {scores['mean_iou']:.4f} against the true masks, {document['found']} suspects, "
        f"predicted in {seconds[0]:.0f} s, audited in {seconds[1]:.1f} s",
        flush=True,
    )
    return recalled(planted, document["suspects"])


def main() -> None:
    """Print a line a seed and a table of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--simulated", action="store_true")
    options = parser.parse_args()
    results = [audited(options.out / f"seed-{seed}", seed, options) for seed in options.seeds]
    for seed, result in zip(options.seeds, results, strict=True):
        print(f"| {seed} | " + " | ".join("{} of {}".format(*result[kind]) for kind in KINDS) + " |")
    sums = {kind: [sum(result[kind][place] for result in results) for place in range(2)] for kind in KINDS}
    print("| all | " + " | ".join("{} of {}".format(*sums[kind]) for kind in KINDS) + " |")
    found, planted = (sum(each[place] for each in sums.values()) for place in range(2))
    print(f"{found} of {planted}: {100 * found / planted:.0f} %")


if __name__ == "__main__":
    main()
