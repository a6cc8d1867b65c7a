"""Small datasets in the hub's layout, and a cache that is not the user's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

Writer = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SPARSEFIELD_DATA", raising=False)
    monkeypatch.setenv("SPARSEFIELD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path / "cache"


def grey(seed: int, count: int, size: tuple[int, int] = (5, 4)) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 256, size, np.uint8)) for _ in range(count)]


def columns(images: list[Any], labels: list[Any]) -> dict[str, list[Any]]:
    return {"image": images, "label": labels}


def label_features(inputs: Any, classes: int = 3) -> datasets.Features:
    names = [f"class {number}" for number in range(classes)]
    return datasets.Features({"image": inputs, "label": datasets.ClassLabel(names=names)})


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    """Return a function that writes splits as parquet files and returns their directory."""

    def writer(
        features: datasets.Features | None = None, name: str = "shapes", **splits: dict[str, Any]
    ) -> Path:
        features = features or label_features(datasets.Image())
        for split, rows in splits.items():
            path = tmp_path / name / "data" / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            datasets.Dataset.from_dict(rows, features=features).to_parquet(str(path))
        return tmp_path / name

    return writer


@pytest.fixture
def shapes(write: Writer) -> Path:
    """A grey 5 x 4 dataset of three classes: 7 rows to train on, 4 to test."""
    return write(
        train=columns(grey(1, 7), [0, 1, 2, 0, 1, 2, 0]), test=columns(grey(2, 4), [2, 1, 0, 1])
    )


@pytest.fixture(scope="session")
def shared_datasets() -> Path:
    """The folder of real datasets beside the repository, or a skip where it is absent."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "datasets"
    if not folder.is_dir():
        pytest.skip("no ../shared/datasets beside the repository")
    return folder
