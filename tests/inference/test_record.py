import json
import os
import threading
import time

import pytest

from patchseg.errors import UsageError
from patchseg.inference.record import AT_ONCE, GROUP, STAGES, begin, begun, note
from patchseg.patches.pairs import RECORD
from patchseg.progress import Progress


def recorded(images=("a.tif",), **values):
    """Return a record of some settings; `tile=8` is infer.tile, `compute_threads=2` compute.threads."""
    values = {"blend": "flat", "compute_checkpoint": "c0ffee", "compute_threads": 1} | values
    record = {"infer.images": {"value": list(images), "source": "argument"}}
    for name, value in values.items():
        key = name.replace("_", ".", 1) if name.startswith("compute_") else f"infer.{name}"
        record[key] = {"value": value, "source": "call"}
    return record


def read(folder):
    return {key: entry["value"] for key, entry in json.loads((folder / RECORD).read_text()).items()}


@pytest.fixture
def masks(tmp_path):
    """Begin a folder of masks, in which there will be a.png and b.png: `masks(tile=8, overwrite=True)`."""
    folder = tmp_path / "masks"

    def masks(*, overwrite=False, progress=None, record=None, **values):
        outputs = [folder / "a.png", folder / "b.png"]
        record = record or recorded(**values)
        return begin(folder, record, outputs, progress or Progress(), overwrite=overwrite)

    masks.folder = folder
    return masks


def test_a_new_folder_is_begun_and_the_same_settings_go_on(masks):
    assert masks(tile=8) is False
    assert read(masks.folder)["infer.tile"] == 8
    (masks.folder / "a.png").write_text("a mask")
    assert masks(tile=8) is True
    assert (masks.folder / "a.png").read_text() == "a mask"


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ({"tile": 8}, {"tile": 16}, "infer.tile 8, now 16"),
        ({"blend": "flat"}, {"blend": "exact"}, "infer.blend flat, now exact"),
        ({"roi": None}, {"roi": "0,0,5,5"}, "infer.roi null, now 0,0,5,5"),
        ({"compute_checkpoint": "1"}, {"compute_checkpoint": "2"}, "another checkpoint"),
        ({"compute_precision": "fp32"}, {"compute_precision": "bf16"}, "compute.precision fp32, now bf16"),
        # The first of several, in the order of their names.
        ({"tile": 8, "overlap": 0.5}, {"tile": 9, "overlap": 0.2}, "infer.overlap 0.5, now 0.2"),
        ({"roi": "1" * 70}, {"roi": "2"}, f"infer.roi {'1' * 57}..., now 2"),
    ],
)
def test_other_settings_are_refused_and_the_first_difference_is_named(masks, before, now, told):
    masks(**before)
    with pytest.raises(UsageError) as caught:
        masks(**now)
    assert str(caught.value) == (
        f"{masks.folder}: holds masks that were made with {told}; choose another --output or give --overwrite"
    )
    assert read(masks.folder) == {key: entry["value"] for key, entry in recorded(**before).items()}


@pytest.mark.parametrize(
    "now",
    [
        {"threads": 2}, {"device": "cuda"}, {"max_memory": 10**9}, {"shard": "1/2"}, {"verify": True}, {"checkpoint": "b.pt"},
        {"output": "elsewhere"}, {"compute_threads": 2}, {"compute_device": "NVIDIA H100"},
    ],
)  # fmt: skip
def test_what_leaves_masks_as_they_are_may_differ(masks, now):
    masks()
    assert masks(**now) is True


def test_masks_of_before_groups_were_recorded_may_stay(masks):
    masks()
    assert masks(record=recorded() | {GROUP: {"value": "patient", "source": "best.pt"}}) is True


def test_another_machine_is_told(masks, hear):
    masks(compute_device="CPU, 2 threads")
    told = hear()
    masks(compute_device="NVIDIA H100", compute_threads=8, progress=told)
    assert told.lines == [
        "the masks that are there were made on CPU, 2 threads, the others will be on NVIDIA H100: probabilities may differ "
        "by 1e-5"
    ]
    masks(compute_device="CPU, 2 threads", progress=told)
    assert len(told.lines) == 1


def test_images_are_merged_and_what_is_there_keeps_its_time(masks):
    masks(images=("a.tif", "b.tif"))
    os.utime(masks.folder / RECORD, ns=(5, 5))
    masks(images=("c.tif", "a.tif"))
    assert read(masks.folder)["infer.images"] == ["a.tif", "b.tif", "c.tif"]
    assert begun(masks.folder) == 5
    masks(images=("b.tif",))
    assert read(masks.folder)["infer.images"] == ["a.tif", "b.tif", "c.tif"]


def test_a_record_of_an_older_version_lacks_settings_and_is_refused(masks):
    masks.folder.mkdir()
    older = recorded()
    del older["compute.checkpoint"], older["infer.images"]
    (masks.folder / RECORD).write_text(json.dumps(older))
    with pytest.raises(UsageError, match="made with another checkpoint; choose another --output"):
        masks()
    older["compute.checkpoint"] = {"value": "c0ffee", "source": "plan"}
    (masks.folder / RECORD).write_text(json.dumps(older))
    with pytest.raises(UsageError, match=r"made with infer\.tile unknown, now 8; choose another --output"):
        masks(tile=8)
    assert masks() is True
    assert read(masks.folder)["infer.images"] == ["a.tif"]


def test_settings_of_a_newer_version_are_refused_too(masks):
    masks(sharpness=3)
    with pytest.raises(
        UsageError, match=r"made with infer\.sharpness 3, now unknown; choose another --output"
    ):
        masks()


def test_overwriting_begins_anew_and_leaves_nothing_half_done(masks):
    masks(tile=8)
    os.utime(masks.folder / RECORD, ns=(5, 5))
    stage = masks.folder / STAGES / "a.stage"
    stage.mkdir(parents=True)
    before = time.time_ns() - 10**9
    assert masks(tile=16, images=("z.tif",), overwrite=True) is False
    assert read(masks.folder)["infer.tile"] == 16
    assert read(masks.folder)["infer.images"] == ["z.tif"]
    assert not stage.exists()
    assert begun(masks.folder) > before


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_that_infer_has_not_written_are_refused_in_any_case(masks, overwrite):
    masks.folder.mkdir()
    (masks.folder / "b.png").write_text("drawn by hand")
    with pytest.raises(UsageError, match=r"b\.png: (exists already|was not written by infer)"):
        masks(overwrite=overwrite)
    assert [path.name for path in masks.folder.iterdir()] == ["b.png"]


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"infer.tile": 8}', "\0\0\0"])
def test_a_damaged_record_is_only_replaced_on_request(masks, text):
    masks.folder.mkdir()
    (masks.folder / RECORD).write_text(text)
    with pytest.raises(UsageError, match=r"parameters\.effective\.json: exists already"):
        masks()
    assert masks(overwrite=True) is False
    assert masks() is True


def test_what_is_noted_stays_and_does_not_stand_in_the_way(masks):
    masks(tile=8)
    os.utime(masks.folder / RECORD, ns=(5, 5))
    note(masks.folder, AT_ONCE, 2, "memory")
    assert (read(masks.folder)[AT_ONCE], read(masks.folder)["infer.tile"]) == (2, 8)
    assert masks(tile=8, images=("b.tif",)) is True
    assert read(masks.folder)[AT_ONCE] == 2
    assert begun(masks.folder) == 5


def test_many_may_begin_one_folder_at_once_and_no_image_is_lost(masks):
    gate, ended = threading.Barrier(8), []

    def work(number):
        gate.wait()
        ended.append(masks(images=(f"{number}.tif",)))

    for _ in range(10):
        threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(read(masks.folder)["infer.images"]) == [f"{number}.tif" for number in range(8)]
        assert [path.name for path in masks.folder.iterdir()] == [RECORD]
        (masks.folder / RECORD).unlink()
    assert sorted(ended) == [False] * 10 + [True] * 70


@pytest.mark.parametrize("between", ["", "masks"])
def test_a_folder_that_is_none_is_a_usage_error(masks, between):
    masks.folder.write_text("a file")
    with pytest.raises(UsageError, match=r"cannot be written \(.+\); choose a folder that you may write to"):
        begin(masks.folder / between, recorded(), [], Progress(), overwrite=False)


def test_a_folder_that_was_never_begun_has_no_time(tmp_path):
    assert begun(tmp_path) == 0
