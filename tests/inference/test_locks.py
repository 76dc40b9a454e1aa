import fcntl
import shutil
import threading

import pytest

from patchseg.errors import UsageError
from patchseg.inference.locks import lock


def test_one_holds_it_at_a_time_and_the_file_is_gone_afterwards(tmp_path):
    path = tmp_path / "lock"
    with lock(path, wait=False) as first, lock(path, wait=False) as second:
        assert (first, second) == (True, False)
    with lock(path, wait=False) as third:
        assert third
    assert not path.exists()


def test_who_waits_is_let_in_one_after_the_other(tmp_path):
    inside, most, gate = [], [], threading.Barrier(8)

    def work():
        gate.wait()
        for _ in range(20):
            with lock(tmp_path / "lock", wait=True) as is_alone:
                inside.append(is_alone)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 160
    assert list(tmp_path.iterdir()) == []


def test_after_an_error_it_is_free(tmp_path):
    with pytest.raises(ZeroDivisionError), lock(tmp_path / "lock", wait=True):
        raise ZeroDivisionError
    with lock(tmp_path / "lock", wait=False) as is_alone:
        assert is_alone


@pytest.mark.parametrize("everything", [False, True])
def test_who_comes_to_a_door_that_is_being_taken_away_is_not_let_in(tmp_path, monkeypatch, everything):
    """The one before removes the file, or all of the folder, after this one has opened it and before it holds it."""
    folder, plain = tmp_path / "stage", fcntl.flock

    def late(file, how):
        shutil.rmtree(folder) if everything else (folder / "lock").unlink()
        plain(file, how)

    folder.mkdir()
    monkeypatch.setattr(fcntl, "flock", late)
    with lock(folder / "lock", wait=False) as is_alone:
        assert not is_alone


@pytest.mark.parametrize("wait", [False, True])
def test_in_a_folder_that_is_gone_nobody_is_let_in(tmp_path, wait):
    with lock(tmp_path / "gone/lock", wait=wait) as is_alone:
        assert not is_alone


@pytest.mark.parametrize("wait", [False, True])
def test_where_files_cannot_be_locked_one_is_let_in_all_the_same(tmp_path, monkeypatch, wait):
    def refuse(file, how):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with lock(tmp_path / "lock", wait=wait) as is_alone:
        assert is_alone
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_to_is_a_usage_error(tmp_path):
    (tmp_path / "lock").mkdir()
    with pytest.raises(UsageError, match="cannot be written"), lock(tmp_path / "lock", wait=True):
        pass
