"""How strongly patches are varied: a strength and single switches in, the shares and ranges of every variation out."""

from dataclasses import dataclass, fields, replace

from patchseg.parameters import AugmentParameters, Flips


@dataclass(frozen=True)
class Recipe:
    """The share of patches that each variation happens to, and how far it goes.

    Attributes:
        flips: Which flips there are; each happens to half of the patches.
        turns: Whether patches are turned by quarters, each equally often.
        rotation, scale, shear, shift, elastic: Shares of the variations in space.
        brightness, contrast, gamma, noise, blur, low_resolution, color, drop_channel, cutout: Shares of those of pixels.
        cutmix: Share of patches that get a rectangle of another one.
        match: Share of patches that take over mean and spread of another image.
        degrees: Largest angle of the rotation.
        brightness_by: Largest change, in standard deviations of the training set.
        contrast_by: Largest factor; its inverse is the smallest.
        blur_by: Largest standard deviation of the blur, in pixels.
        low_resolution_by: Smallest resolution, of the patch's.
    """

    flips: Flips = "none"
    turns: bool = False
    rotation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    low_resolution: float = 0.0
    color: float = 0.0
    drop_channel: float = 0.0
    cutout: float = 0.0
    cutmix: float = 0.0
    match: float = 0.0
    degrees: float = 180.0
    brightness_by: float = 0.3
    contrast_by: float = 1.33
    blur_by: float = 1.0
    low_resolution_by: float = 0.5

    @property
    def idle(self) -> bool:
        """Whether nothing is varied."""
        return not self.moves and not any(
            (self.brightness, self.contrast, self.gamma, self.noise, self.blur, self.low_resolution, self.color,
             self.drop_channel, self.cutout, self.cutmix, self.match)
        )  # fmt: skip

    @property
    def moves(self) -> bool:
        """Whether any pixel changes its place."""
        shares = (self.rotation, self.scale, self.shear, self.shift, self.elastic)
        return self.flips != "none" or self.turns or any(shares)


# standard and strong follow nnU-Net's default and its DA5 (Isensee et al. 2021, commit 0e49508), with quarter turns.
STRENGTHS: dict[str, Recipe] = {
    "none": Recipe(),
    "light": Recipe(flips="both", turns=True, brightness=0.15, contrast=0.15),
    "standard": Recipe(
        flips="both", turns=True, rotation=0.2, scale=0.2, brightness=0.15, contrast=0.15, gamma=0.3, noise=0.1,
        blur=0.2, low_resolution=0.25, color=0.2,
    ),
    "strong": Recipe(
        flips="both", turns=True, rotation=0.4, scale=0.4, shear=0.2, shift=0.2, elastic=0.2, brightness=0.3,
        contrast=0.3, gamma=0.4, noise=0.2, blur=0.3, low_resolution=0.3, color=0.4, drop_channel=0.1, cutout=0.4,
        cutmix=0.5, brightness_by=0.5, contrast_by=2.0, blur_by=1.5, low_resolution_by=0.25,
    ),
}  # fmt: skip


def recipe_of(settings: AugmentParameters) -> Recipe:
    """Return what a strength (none where none is set) and the switches beside it mean.

    >>> recipe_of(AugmentParameters(strength="light", noise=0.5)).noise
    0.5
    >>> recipe_of(AugmentParameters(strength="standard", degrees=15)).rotation
    0.2
    """
    known = {field.name for field in fields(Recipe)}
    given = settings.model_dump(exclude_none=True)
    return replace(
        STRENGTHS[settings.strength or "none"],
        **{name: value for name, value in given.items() if name in known},
    )
