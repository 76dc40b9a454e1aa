"""The models of parameters.json: one class a section, one field a parameter.

From a field come the flag on the command line, its help, the JSON schema and the table in the README. Values are
gathered as defaults < automatic plan < file < flags and validated once; each remembers where it came from. A
field whose default is None is left to the plan (`planned`), to the data, or off, as its description says.
"""

from typing import Any

from patchseg.parameters.data import (
    Class,
    ClassParameters,
    DataParameters,
    MaskStyle,
    PrepareParameters,
    SynthParameters,
)
from patchseg.parameters.export import ExportFormat, ExportParameters, Result
from patchseg.parameters.learning import (
    AugmentParameters,
    Device,
    Flips,
    Keep,
    Loss,
    Model,
    ModelParameters,
    Norm,
    Objective,
    Optimizer,
    Precision,
    Schedule,
    Strength,
    Upsampling,
)
from patchseg.parameters.masks import (
    Blend,
    EvaluateParameters,
    Format,
    InferParameters,
    ProbabilityType,
    Symmetries,
    Window,
)
from patchseg.parameters.pretraining import PretrainParameters
from patchseg.parameters.studies import (
    AuditParameters,
    CalibrateParameters,
    CrossvalParameters,
    LearningCurveParameters,
    SuggestParameters,
)
from patchseg.parameters.training import Consistency, Role, TrainParameters
from patchseg.section import Section

__all__ = [
    "AuditParameters", "AugmentParameters", "Blend", "CalibrateParameters", "Class", "ClassParameters",
    "Consistency", "CrossvalParameters", "DataParameters", "Device", "EvaluateParameters", "ExportFormat", "ExportParameters", "Flips", "Format", "InferParameters",
    "Keep", "LearningCurveParameters", "Loss", "MaskStyle", "Model", "ModelParameters", "Norm", "Objective", "Optimizer",
    "Parameters", "Precision", "PrepareParameters", "PretrainParameters", "ProbabilityType", "Result", "Role", "Schedule", "Strength", "SuggestParameters",
    "Symmetries", "SynthParameters", "TrainParameters", "Upsampling", "Window", "effective",
]  # fmt: skip


class Parameters(Section):
    """All of parameters.json."""

    data: DataParameters = DataParameters()
    prepare: PrepareParameters = PrepareParameters()
    model: ModelParameters = ModelParameters()
    augment: AugmentParameters = AugmentParameters()
    pretrain: PretrainParameters = PretrainParameters()
    train: TrainParameters = TrainParameters()
    infer: InferParameters = InferParameters()
    evaluate: EvaluateParameters = EvaluateParameters()
    calibrate: CalibrateParameters = CalibrateParameters()
    crossval: CrossvalParameters = CrossvalParameters()
    learning_curve: LearningCurveParameters = LearningCurveParameters()
    suggest: SuggestParameters = SuggestParameters()
    audit: AuditParameters = AuditParameters()
    export: ExportParameters = ExportParameters()
    synth: SynthParameters = SynthParameters()

    def sections(self) -> list[Section]:
        """Return the sections in the order of the work."""
        return [getattr(self, name) for name in type(self).model_fields]


def effective(*sections: Section) -> dict[str, dict[str, Any]]:
    """Return {key: {value, source}} of some sections, as parameters.effective.json holds it.

    >>> effective(EvaluateParameters(truth="t"))["evaluate.truth"]
    {'value': 't', 'source': 'call'}
    """
    return {
        f"{section.section}.{name}": {"value": value, "source": section.source(name)}
        for section in sections
        for name, value in section.model_dump(mode="json").items()
    }
