"""`python -m patchseg` is `patchseg`."""

from patchseg.cli import run

if __name__ == "__main__":
    run()
