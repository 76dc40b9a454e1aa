import json
from pathlib import Path

import pytest

from patchseg.errors import DataError, UsageError
from patchseg.models.ensemble import members


@pytest.fixture
def study(tmp_path):
    def write(content):
        (tmp_path / "crossval.json").write_text(content if isinstance(content, str) else json.dumps(content))
        return tmp_path

    return write


def test_a_cross_validation_stands_for_its_folds_and_a_file_for_itself(study):
    folder = study({"folds": [{"checkpoint": "fold-1-of-2/last.pt"}, {"checkpoint": "fold-2-of-2/last.pt"}]})
    both = [folder / "fold-1-of-2/last.pt", folder / "fold-2-of-2/last.pt"]
    assert members([folder]) == both
    assert members([folder / "crossval.json"]) == both
    assert members(["a.pt", folder, "b.pt"]) == [Path("a.pt"), *both, Path("b.pt")]


def test_a_folder_without_a_summary_is_none(tmp_path):
    with pytest.raises(UsageError, match=r"holds no crossval.json; expected a checkpoint, such as"):
        members([tmp_path])


@pytest.mark.parametrize("content", ["{", "[]", {}, {"folds": [{}]}, {"folds": 3}, {"folds": []}])
def test_a_summary_that_names_none_is_damaged(study, content):
    with pytest.raises(DataError, match=r"crossval.json: names no checkpoints"):
        members([study(content)])
