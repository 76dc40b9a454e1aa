"""Pictures of one thing behind each other, of which the reader chooses one: by radio buttons and CSS, without a script.

The buttons come before the pictures, so that `input:checked ~ .stage` in style.css reaches them. Arrow keys move between
buttons, as the browser has it. On paper all pictures stand side by side.
"""

from collections.abc import Sequence
from typing import NamedTuple

from patchseg.page.shell import Content, Html, element

OPACITIES = {"solid": "100 %", "half": "50 %"}


class View(NamedTuple):
    """One of the pictures.

    Attributes:
        kind: image, truth, prediction, errors or confidence, as style.css names them; the image lies below the others, which may be seen through.
        picture: An `image`.
        caption: What is below it.
    """

    kind: str
    picture: Html
    caption: Content


def viewer(
    views: Sequence[View], *, number: int, name: str, chosen: str, shape: tuple[int, int], ground: str
) -> Html:
    """Return pictures of equal size with buttons to choose from.

    Args:
        views: In the order of the buttons, the image first where there is one.
        number: Of this viewer on the page.
        name: What all are pictures of, for those who hear the page.
        chosen: The kind that is shown first.
        shape: Rows and columns of the pictures.
        ground: "#rrggbb" of the first class, which pictures of masks leave out.
    """
    buttons = [
        _button(f"view-{number}", view.kind, view.kind, kind=view.kind, checked=view.kind == chosen)
        for view in views
    ]
    has_image = any(view.kind == "image" for view in views)
    if has_image and len(views) > 1:
        buttons.append(element("span", "opacity", class_="word", aria_hidden="true"))
        buttons += [
            _button(
                f"opacity-{number}",
                opacity,
                told,
                kind=opacity,
                checked=opacity == "solid",
                label=f"opacity {told}",
            )
            for opacity, told in OPACITIES.items()
        ]
    figures = [
        element(
            "figure", view.picture, element("figcaption", view.caption), class_=f"{'layer' if place or not has_image else 'base'} {view.kind}"
        )
        for place, view in enumerate(views)
    ]  # fmt: skip
    height, width = shape
    stage = element(
        "div",
        *figures,
        class_="stage",
        style=f"--count: {len(views)}; --aspect: {width / height:.4f}; --ground: {ground}",
    )
    return element(
        "fieldset",
        element("legend", f"What to show of {name}", class_="unseen"),
        *buttons,
        stage,
        class_="viewer",
    )


def _button(group: str, value: str, text: str, *, kind: str, checked: bool, label: str | None = None) -> Html:
    place = f"{group}-{value}"
    button = element(
        "input", type="radio", name=group, id=place, value=value, aria_label=label, class_=kind,
        checked="" if checked else None,
    )  # fmt: skip
    return Html(f"{button}{element('label', text, for_=place)}")
