import errno
import os
from pathlib import Path

import pytest

from patchseg.errors import PatchsegError, UsageError
from patchseg.imaging.files import refusal, refuse_existing, whole


def write_half(file, error):
    with whole(file) as part:
        part.write_text("half")
        raise error


def test_a_file_appears_whole_under_its_name_and_its_folders_are_made(tmp_path):
    file = tmp_path / "new" / "folder" / "a.txt"
    with whole(file) as part:
        part.write_text("all of it")
        assert not file.exists()
        assert part.parent == file.parent
    assert file.read_text() == "all of it"
    assert [f.name for f in file.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_an_error_leaves_nothing_behind_and_passes_through(tmp_path, error):
    file = tmp_path / "a.txt"
    with pytest.raises(type(error)) as caught:
        write_half(file, error)
    assert caught.value is error
    assert not list(tmp_path.iterdir())


def test_an_error_leaves_the_file_that_was_there_before(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")
    with pytest.raises(ValueError, match="no"):
        write_half(file, ValueError("no"))
    assert file.read_text() == "old"
    assert [f.name for f in tmp_path.iterdir()] == ["a.txt"]


def test_a_success_replaces_the_file_that_was_there_before(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with whole(tmp_path / "a.txt") as part:
        part.write_text("new")
    assert (tmp_path / "a.txt").read_text() == "new"


def test_what_is_left_of_a_killed_run_does_not_matter(tmp_path):
    (tmp_path / ".a.txt.part").write_text("left over")
    with whole(tmp_path / "a.txt") as part:
        part.write_text("new")
    assert [f.name for f in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_in_place_of_the_folder_and_a_folder_in_place_of_the_file_are_told_by_name(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "a.txt", tmp_path / "file" / "b" / "a.txt", tmp_path / "folder"):
        with pytest.raises(UsageError) as caught, whole(path) as part:
            part.write_text("x")
        assert str(caught.value).startswith(f"{path}: cannot be written (")
        assert str(caught.value).endswith("); choose a folder that you may write to")
    assert sorted(f.name for f in tmp_path.rglob("*")) == ["file", "folder"]


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs the users of a POSIX system")
def test_a_folder_that_may_not_be_written_to_is_a_usage_error(tmp_path, run_python):
    (tmp_path / "mine").mkdir(mode=0o555)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from patchseg.imaging.files import whole; from patchseg.errors import UsageError\n"
        "if os.getuid() == 0: os.setuid(65534)\n"  # root may write anywhere
        "try:\n"
        "    with whole(Path(sys.argv[1])): pass\n"
        "except UsageError as error: print(error)\n"
    )
    # Every folder above must let the other user through.
    for folder in (tmp_path, *tmp_path.parents):
        if folder.name.startswith(("pytest-", "test_")):
            folder.chmod(0o755)
    file = tmp_path / "mine" / "a.txt"
    done = run_python(code, file)
    assert done.stdout == (
        f"{file}: cannot be written (permission denied); choose a folder that you may write to\n"
    ), done.stderr


@pytest.mark.parametrize(
    "write",
    [
        "with whole(file) as part: part.write_bytes(bytes(100_000))",
        "with open_writer(file, noise.shape) as writer: writer.write(noise)",
        "with open_writer(file.with_suffix('.tif'), noise.shape) as writer:\n"
        "        for row in noise: writer.write(row[None])",
    ],
    ids=["bytes", "png", "tiff"],
)
def test_a_full_disk_is_one_sentence_with_exit_code_1_and_leaves_nothing(tmp_path, run_python, write):
    pytest.importorskip("resource")
    code = f"""
import resource, sys
from pathlib import Path
import numpy as np
from patchseg.errors import PatchsegError
from patchseg.imaging.files import whole
from patchseg.imaging.write import open_writer
file = Path(sys.argv[1])
noise = np.random.default_rng(0).integers(0, 256, (1200, 300)).astype(np.uint8)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    {write}
except PatchsegError as error:
    print(error)
    sys.exit(error.exit_code)
"""
    file = tmp_path / "a.png"
    done = run_python(code, file)
    assert done.returncode == 1, done.stderr
    file = file.with_suffix(".tif") if ".tif" in write else file
    assert (
        done.stdout
        == f"{file}: cannot be written, a size limit is reached; make room or choose another place\n"
    )
    assert not done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
            "a.h5: cannot be written, the disk is full; make room",
        ),
        (
            OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
            "a.h5: cannot be written, the quota is used up; make room",
        ),
        # As h5py tells it.
        (
            RuntimeError("Unable to write (errno = 28, error message = 'No space left on device')"),
            "the disk is full",
        ),
        (
            OSError("Can't write data (file write failed: error message = 'File too large')"),
            "a size limit is reached",
        ),
    ],
)
def test_a_disk_without_room_is_told_however_it_is_met(error, sentence):
    told = refusal(Path("a.h5"), error)
    assert type(told) is PatchsegError
    assert sentence in str(told)


def test_a_read_only_disk_is_told_as_a_place_that_may_not_be_written_to():
    told = refusal(Path("a.h5"), OSError(errno.EROFS, os.strerror(errno.EROFS)))
    assert isinstance(told, UsageError)
    assert "(read-only file system)" in str(told)


@pytest.mark.parametrize(
    "error", [ValueError("No space left on device"), OSError(errno.EIO, "x"), KeyError("a")]
)
def test_other_errors_stay_what_they_are(error):
    assert refusal(Path("a"), error) is error


def test_outputs_that_exist_are_refused_unless_they_may_be_replaced(tmp_path):
    paths = [tmp_path / name for name in ("new", "old", "older")]
    refuse_existing(paths, overwrite=False)
    paths[1].touch()
    with pytest.raises(UsageError) as caught:
        refuse_existing(paths, overwrite=False)
    assert str(caught.value) == f"{paths[1]}: exists already; choose another output or give --overwrite"
    paths[2].touch()
    with pytest.raises(UsageError, match=r"old \(and 1 more\): exists already"):
        refuse_existing(paths, overwrite=False)
    refuse_existing(paths, overwrite=True)
