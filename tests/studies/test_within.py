import pytest

from patchseg.studies.within import Within


def test_lines_and_bars_bear_the_part_and_nothing_is_told_twice(kit):
    heard, told = kit.hear(), set()
    for part in ("fold 1/2", "fold 2/2"):
        inside = Within(heard, part, told)
        for line in ("patch 96: fits", f"{part[5]} images", "epoch 1/2  loss 0.5"):
            inside.say(line)
    assert heard.lines == ["fold 1/2: patch 96: fits", "fold 1/2: 1 images", "fold 2/2: 2 images"]
    with pytest.raises(kit.killed):
        Within(kit.hear("fold 1/2, cutting"), "fold 1/2", set()).start("cutting", 3)
