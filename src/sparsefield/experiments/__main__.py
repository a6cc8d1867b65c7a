"""``python -m sparsefield.experiments DIRECTORY OUT``: the picture of a folder of runs."""

import tyro

from sparsefield.experiments import picture

if __name__ == "__main__":
    tyro.cli(picture)
