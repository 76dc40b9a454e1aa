"""The sections about learning: model, augment, train."""

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, Field

from patchseg.section import Section, setting
from patchseg.values import Duration, loss_terms

Model = Literal[
    "unet", "enet", "segnet", "lite_hrnet_s", "lite_hrnet_18", "lite_hrnet_x", "smp/unet", "smp/unetplusplus", "smp/manet", "smp/linknet", "smp/fpn", "smp/pspnet", "smp/deeplabv3",
    "smp/deeplabv3plus", "smp/pan", "smp/upernet", "smp/segformer", "smp/dpt",
]  # fmt: skip
Norm = Literal["batch", "group", "instance", "none"]
Upsampling = Literal["transposed", "bilinear"]
Loss = Literal["ce", "dice", "image_dice", "focal", "tversky", "lovasz"]
Optimizer = Literal["sgd", "adam", "adamw", "amsgrad", "radam", "nadam", "rmsprop", "adagrad"]
Objective = Literal["supervised", "fixmatch", "mean-teacher", "supcon", "detcon"]
Schedule = Literal["constant", "step", "poly", "cosine", "onecycle", "plateau"]
Strength = Literal["none", "light", "standard", "strong"]
Flips = Literal["none", "left-right", "up-down", "both"]
Keep = Literal["auto", "device", "memory", "file"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


def loss(value: str) -> str:
    """Return a loss, or a weighted sum of losses, that is one.

    >>> loss("0.5*ce+focal")
    '0.5*ce+focal'
    """
    loss_terms(value, get_args(Loss))
    return value


Losses = Annotated[str, AfterValidator(loss)]


def share_setting(help: str) -> Any:
    """Return a setting that is a share, 0 to 1, or left to a plan."""
    return setting(None, help, ge=0, le=1)


class ModelParameters(Section):
    """The network."""

    section: ClassVar[str] = "model"
    name: Model = setting("unet", "architecture")
    width: int | None = setting(
        None, "channels of the first level [auto: 32 on a GPU, 8 without; segnet 64]", ge=1
    )
    levels: int | None = setting(
        None,
        "resolutions, the first included [auto: receptive field near the patch: 4 at 96, 5 at 200]",
        ge=1,
        le=8,
    )
    norm: Norm | None = setting(None, "normalization between layers [auto: batch, group below batches of 4]")
    max_width: int | None = setting(None, "most channels of any level [auto: no limit]", ge=1)
    residual: bool = setting(False, "a way around each two convolutions, to which they are added")
    attention: bool = setting(
        False, "weigh what each level saw on the way down, pixel by pixel, before it is joined"
    )
    upsampling: Upsampling = setting("transposed", "how resolution is doubled: learned, or interpolated")
    deep_supervision: bool = setting(False, "learn from the logits of every level of the way up, too")
    encoder: str | None = setting(
        None,
        "encoder of smp/..., such as efficientnet-b3 or tu-convnext_tiny [auto: resnet34; segformer mit_b0, dpt a ViT]",
    )
    pretrained: bool = setting(False, "download the encoder's published weights and begin with them")
    encoder_weights: str | None = setting(
        None, "file of weights that the encoder begins with, .safetensors or .pth"
    )


class AugmentParameters(Section):
    """How patches are varied while the network learns; what is left out is as `strength` has it."""

    section: ClassVar[str] = "augment"
    strength: Strength | None = setting(
        None, "how much patches are varied [auto: light, standard for runs of several passes]"
    )
    flips: Flips | None = setting(None, "flips, each of those allowed half of the time [auto: by strength]")
    turns: bool | None = setting(None, "quarter turns [auto: by strength]")
    rotation: float | None = share_setting("share of patches turned by any angle [auto: by strength]")
    degrees: float = setting(180.0, "largest such angle; less where up is up", ge=0, le=180)
    scale: float | None = share_setting("share scaled to 0.7 to 1.4 of their size [auto: by strength]")
    shear: float | None = share_setting("share sheared by up to 10 degrees [auto: by strength]")
    shift: float | None = share_setting(
        "share shifted by up to a tenth of a patch, or by the margin [auto: by strength]"
    )
    elastic: float | None = share_setting("share bent by smooth random displacements [auto: by strength]")
    brightness: float | None = share_setting("share made brighter or darker [auto: by strength]")
    contrast: float | None = share_setting("share with more or less contrast [auto: by strength]")
    gamma: float | None = share_setting("share with a gamma of 0.7 to 1.5 [auto: by strength]")
    noise: float | None = share_setting("share with Gaussian noise [auto: by strength]")
    blur: float | None = share_setting("share blurred [auto: by strength]")
    low_resolution: float | None = share_setting(
        "share shown as if taken at a lower resolution [auto: by strength]"
    )
    color: float | None = share_setting("share of RGB patches with other hue, saturation [auto: by strength]")
    drop_channel: float | None = share_setting("share that lose one of several channels [auto: by strength]")
    cutout: float | None = share_setting("share in which rectangles are blanked [auto: by strength]")
    match: float | None = share_setting(
        "share that take over brightness and spread of another image, of those without masks too [auto: 0.7 where many of those are darker or brighter]"
    )
    cutmix: float | None = share_setting(
        "share that get a rectangle, mask included, of another patch [auto: by strength]"
    )


class LabelParameters(Section):
    """How the network learns from labels."""

    section: ClassVar[str] = "train"
    name: str | None = setting(None, "name of the run [auto: the stem of the patches' file]")
    epochs: int = setting(100, "passes over the patches", short="-e", ge=1)
    steps: int | None = setting(
        None, "batches in all, in place of epochs; with --time, the most of them", ge=1
    )
    epoch_steps: int | None = setting(
        None,
        "batches an epoch, each epoch ends with a validation [auto: one pass, or a twentieth of the run]",
        ge=1,
    )
    time: Duration | None = setting(None, "wall-clock budget such as 5m; the schedule is fitted into it")
    batch: int | None = setting(None, "patches a step [auto: 16 on a GPU, 4 without]", short="-b", ge=1)
    micro_batch: int | None = setting(
        None,
        "patches at once; gradients of a batch are summed up [auto: the batch, less when memory ends]",
        ge=1,
    )
    keep: Keep = setting("auto", "where the patches are kept [auto: device, memory or file, as they fit]")
    centred: float | None = share_setting(
        "share of a batch drawn for its classes, each as often, and centred on them [auto: by the data]"
    )
    rate: float | None = setting(
        None,
        "(highest) learning rate [auto: by the optimizer; adamw 0.004, from width 32 on 0.002, other networks 0.001; sgd 0.01]",
        short="-l",
        gt=0,
    )
    objective: Objective = setting(
        "supervised",
        "what is learned from: labels, also pixels without one (fixmatch, mean-teacher), or also what classes look like in two "
        "views (supcon); detcon is what pretrain does",
    )
    loss: Losses = setting(
        "ce+dice",
        "what is minimized: ce, dice, image_dice, focal, tversky, lovasz, or a sum such as 0.5*ce+focal",
    )
    class_weights: Literal["balanced"] | list[Annotated[float, Field(ge=0)]] | None = setting(
        None, 'weight of each class in the loss: "balanced", or a number a class'
    )
    optimizer: Optimizer = setting("adamw", "optimizer")
    momentum: float = setting(0.9, "momentum of sgd (Nesterov's) and rmsprop", ge=0, lt=1)
    weight_decay: float = setting(0.01, "weight decay, of all weights but norms and biases", ge=0)
    schedule: Schedule | None = setting(None, "course of the learning rate [auto: onecycle; sgd poly]")
    warm_up: float | None = share_setting(
        "share of the run in which the rate rises [auto: onecycle 0.15, others 0]"
    )
    patience: int | None = setting(
        None, "epochs without a better score after which the rate decays to its end [auto: never]", ge=1
    )
    on_stop: Literal["save", "anneal"] = setting(
        "save", "what the first Ctrl-C does: save and stop, or let the rate decay to its end first"
    )
    ema: float | None = share_setting(
        "decay of the moving average of the weights that is validated and saved; 0 for none [auto: by the steps]"
    )
    clip: float = setting(5.0, "largest norm of the gradient; 0 for any", ge=0)
    weights: str | None = setting(None, "checkpoint whose weights to start from")
    freeze: int = setting(0, "steps in which the encoder does not learn yet", ge=0)
    encoder_rate: float | None = setting(
        None, "the encoder's learning rate, as a factor of the rate [auto: 1, pretrained 0.1]", gt=0
    )
    seed: int = setting(0, "seed of the initial weights and of the order of the patches", ge=0)
    device: Device = setting("auto", "where to compute")
    precision: Precision = setting("auto", "arithmetic of the network [auto: bf16 on CUDA where it has it]")
    compile: bool = setting(False, "compile the network: slow to begin, then faster")
    threads: int | None = setting(None, "threads of the CPU [auto: all cores]", ge=1)
    deterministic: bool = setting(False, "bit-exact on CUDA too, at some cost in speed")
