"""patchseg learns to segment images from a handful of labelled ones.

Every verb of the command line is a function here: `synth`, `import_annotations`, `check`, `prepare`, `augment`, `train`, `infer`,
`evaluate`, `compare`, `report`, `demo`.
`evaluate`, `audit`, `report`, `demo`.
`evaluate`, `calibrate`, `report`, `demo`.
`evaluate`, `compare`, `report`, `crossval`, `learning_curve`, `demo`.
`evaluate`, `report`, `view`, `demo`.
`evaluate`, `report`, `suggest`, `demo`.
`export`.
They take paths and their section of the parameters and return the path of what they wrote:

    >>> import patchseg
    >>> patchseg.TrainParameters(epochs=5).optimizer
    'adamw'

`predict(image, checkpoint)` makes the mask of one array or file, `predict_rows` yields its probabilities row by row, and
`engine_of` loads a checkpoint once for many of them.

Importing this module imports nothing heavy; each name is loaded when it is first used.
"""

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "synth": "patchseg.synth",
    "import_annotations": "patchseg.patches.drawings",
    "check": "patchseg.patches.doctor.checkup",
    "prepare": "patchseg.patches.prepare",
    "augment": "patchseg.training.sheet",
    "pretrain": "patchseg.training.pretrain",
    "train": "patchseg.training.train",
    "infer": "patchseg.inference.infer",
    "predict": "patchseg.inference.predict",
    "predict_rows": "patchseg.inference.predict",
    "engine_of": "patchseg.inference.predict",
    "evaluate": "patchseg.evaluation.evaluate",
    "compare": "patchseg.evaluation.compare",
    "calibrate": "patchseg.studies.calibrate",
    "export": "patchseg.export",
    "report": "patchseg.evaluation.report",
    "audit": "patchseg.studies.audit",
    "crossval": "patchseg.studies.crossval",
    "learning_curve": "patchseg.studies.learning_curve",
    "view": "patchseg.view",
    "suggest": "patchseg.studies.suggest",
    "demo": "patchseg.demo",
    "load": "patchseg.loading",
    "AuditParameters": "patchseg.parameters",
    "AugmentParameters": "patchseg.parameters",
    "DataParameters": "patchseg.parameters",
    "PrepareParameters": "patchseg.parameters",
    "ModelParameters": "patchseg.parameters",
    "PretrainParameters": "patchseg.parameters",
    "TrainParameters": "patchseg.parameters",
    "InferParameters": "patchseg.parameters",
    "EvaluateParameters": "patchseg.parameters",
    "ExportParameters": "patchseg.parameters",
    "CalibrateParameters": "patchseg.parameters",
    "CrossvalParameters": "patchseg.parameters",
    "LearningCurveParameters": "patchseg.parameters",
    "Parameters": "patchseg.parameters",
    "SuggestParameters": "patchseg.parameters",
    "SynthParameters": "patchseg.parameters",
    "PatchsegError": "patchseg.errors",
    "Progress": "patchseg.progress",
}

__all__ = [
    "AuditParameters",
    "AugmentParameters",
    "CalibrateParameters",
    "CrossvalParameters",
    "DataParameters",
    "EvaluateParameters",
    "ExportParameters",
    "InferParameters",
    "LearningCurveParameters",
    "ModelParameters",
    "Parameters",
    "PatchsegError",
    "PrepareParameters",
    "PretrainParameters",
    "Progress",
    "SuggestParameters",
    "SynthParameters",
    "TrainParameters",
    "__version__",
    "audit",
    "augment",
    "calibrate",
    "check",
    "compare",
    "crossval",
    "demo",
    "engine_of",
    "evaluate",
    "export",
    "import_annotations",
    "infer",
    "learning_curve",
    "load",
    "predict",
    "predict_rows",
    "prepare",
    "pretrain",
    "report",
    "suggest",
    "synth",
    "train",
    "view",
]

if TYPE_CHECKING:
    from patchseg.demo import demo
    from patchseg.errors import PatchsegError
    from patchseg.evaluation.compare import compare
    from patchseg.evaluation.evaluate import evaluate
    from patchseg.evaluation.report import report
    from patchseg.export import export
    from patchseg.inference.infer import infer
    from patchseg.inference.predict import engine_of, predict, predict_rows
    from patchseg.loading import load
    from patchseg.parameters import (
        AuditParameters,
        AugmentParameters,
        CalibrateParameters,
        CrossvalParameters,
        DataParameters,
        EvaluateParameters,
        ExportParameters,
        InferParameters,
        LearningCurveParameters,
        ModelParameters,
        Parameters,
        PrepareParameters,
        PretrainParameters,
        SuggestParameters,
        SynthParameters,
        TrainParameters,
    )
    from patchseg.patches.doctor.checkup import check
    from patchseg.patches.drawings import import_annotations
    from patchseg.patches.prepare import prepare
    from patchseg.progress import Progress
    from patchseg.studies.audit import audit
    from patchseg.studies.calibrate import calibrate
    from patchseg.studies.crossval import crossval
    from patchseg.studies.learning_curve import learning_curve
    from patchseg.studies.suggest import suggest
    from patchseg.synth import synth
    from patchseg.training.pretrain import pretrain
    from patchseg.training.sheet import augment
    from patchseg.training.train import train
    from patchseg.view import view


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'patchseg' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(types.ModuleType):
    """Keeps `patchseg.synth` the function: importing the module of the same name would put itself in its place."""

    def __setattr__(self, name: str, value: Any) -> None:
        same = name in _HOME and isinstance(value, types.ModuleType)
        super().__setattr__(name, getattr(value, name) if same else value)


sys.modules[__name__].__class__ = _Package
