"""The section pretrain: how a network learns from images without masks, before it learns from labels."""

from typing import ClassVar

from patchseg.parameters.learning import Device, Keep, Precision
from patchseg.section import Section, setting
from patchseg.values import Duration


class PretrainParameters(Section):
    """How a network learns from images alone."""

    section: ClassVar[str] = "pretrain"
    name: str = setting("pretrained", "name of the run")
    epochs: int = setting(10, "passes over the patches", short="-e", ge=1)
    steps: int | None = setting(
        None, "batches in all, in place of epochs; with --time, the most of them", ge=1
    )
    time: Duration | None = setting(None, "wall-clock budget such as 5m; the schedule is fitted into it")
    batch: int | None = setting(
        None, "patches a step, whose regions are told apart [auto: 16 on a GPU, 4 without]", short="-b", ge=1
    )
    micro_batch: int | None = setting(
        None, "patches at once, each with fewer regions to be told from [auto: the batch]", ge=1
    )
    keep: Keep = setting("auto", "where the patches are kept [auto: device, memory or file, as they fit]")
    rate: float | None = setting(
        None, "highest learning rate [auto: by the network, as in training]", short="-l", gt=0
    )
    temperature: float = setting(
        0.1, "by which likenesses of regions are divided; less looks at the most alike", gt=0
    )
    ema: float = setting(0.996, "decay of the average of the weights that is learned from", ge=0, lt=1)
    seed: int = setting(0, "seed of the initial weights and of the order of the patches", ge=0)
    device: Device = setting("auto", "where to compute")
    precision: Precision = setting("auto", "arithmetic of the network [auto: bf16 on CUDA where it has it]")
    threads: int | None = setting(None, "threads of the CPU [auto: all cores]", ge=1)
