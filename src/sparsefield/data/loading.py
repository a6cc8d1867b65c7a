"""load(): from a dataset's name to tensors, by way of the cache."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from sparsefield.data.cache import cache_folder, recall, recall_key, store, store_key, writable
from sparsefield.data.dataset import Dataset, Decoded
from sparsefield.data.decoding import content_key, decode
from sparsefield.data.digits import digits
from sparsefield.data.hub import fetch
from sparsefield.data.normalisation import Normalise, check_normalise, normalised
from sparsefield.errors import InvalidInput

HUB_NAMES = {"mnist": "ylecun/mnist", "cifar10": "uoft-cs/cifar10"}
HUB_NAME = re.compile(r"[A-Za-z0-9_-][\w.-]*/[A-Za-z0-9_-][\w.-]*", re.ASCII)


def load(
    name: str | os.PathLike[str],
    *,
    normalise: Normalise = "both",
    cache: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Load a dataset as tensors.

    The first load decodes the images into one file in the cache folder, keyed by content;
    later loads read that file, without network and without the decoding libraries.

    Parameters
    ----------
    name
        ``digits`` (embedded in scikit-learn, 8 x 8; of each class every fifth image is test),
        ``mnist``, ``cifar10``, any ``owner/name`` on the Hugging Face hub, or a directory of
        parquet files in the hub's layout. A folder called ``name`` in ``$SPARSEFIELD_DATA``
        comes before the hub.
    normalise
        What follows scaling to [0, 1] (arrays of floats are not scaled):
        ``channel``: mean 0 and variance 1 in each channel, by the training split's statistics;
        ``sample``: each sample divided by its root mean square, so that its second moment is 1;
        ``both``: channel, then sample; ``none``: neither.
        A channel that is constant is only centred, and a sample that is all zero stays zero.
    cache
        The cache folder; by default ``$SPARSEFIELD_CACHE``, or ``sparsefield`` in the user's
        cache folder.

    Returns
    -------
    Dataset
        Inputs float32 [n, C, H, W], labels int64 [n].

    Raises
    ------
    InvalidInput
        For a name, directory, file or value that cannot be used: the message says which.
    MissingExtra
        If the libraries of the ``data`` extra are needed and not installed.

    Examples
    --------
    >>> digits = load("digits")
    >>> digits.train_x.shape, digits.test_x.shape, digits.classes
    (torch.Size([1442, 1, 8, 8]), torch.Size([355, 1, 8, 8]), 10)
    >>> round(digits.input_moment, 6)
    1.0
    """
    check_normalise(normalise)
    return normalised(decoded(os.fspath(name), cache_folder(cache)), normalise)


@dataclass(frozen=True)
class Content:
    """What a dataset is without its values: SHA-256 as in ``Dataset.digest``, training samples."""

    digest: str
    samples: int


def content(name: str) -> Content:
    """Read what :func:`load` would, and say what it is; the values are not normalised.

    Raises
    ------
    InvalidInput, MissingExtra
        As :func:`load`.

    >>> content("digits").samples
    1442
    """
    found = decoded(name, cache_folder(None))
    return Content(found.digest, len(found.train_y))


def shared_name(name: str) -> str:
    """What to call a dataset in a record that leaves the machine: a folder by its own name only.

    >>> shared_name("digits"), shared_name("ylecun/mnist"), shared_name("/home/me/mnist")
    ('digits', 'ylecun/mnist', 'mnist')
    """
    path = Path(name).expanduser()
    if HUB_NAME.fullmatch(name) and local_folder(name) != path:
        return name
    return path.name if path.name not in ("", "..") else path.resolve().name


def decoded(name: str, cache: Path) -> Decoded:
    """Return the dataset ``name`` before normalisation, from the cache where it is there."""
    if name == "digits":
        return digits()
    folder = local_folder(name)
    return from_hub(hub_name(name), cache) if folder is None else from_folder(folder, cache)[1]


def from_folder(folder: Path, cache: Path) -> tuple[str, Decoded]:
    """Return the cache key and the content of a directory of parquet files."""
    key = content_key(folder)
    found = recall(cache, key)
    if found is None:
        with writable(cache):
            found = decode(folder, cache)
        store(cache, key, found)
    return key, found


def from_hub(name: str, cache: Path) -> Decoded:
    """Return the hub dataset ``name``; once cached, the hub is not asked again."""
    key = recall_key(cache, name)
    found = recall(cache, key) if key else None
    if found is None:
        key, found = from_folder(fetch(name), cache)
        store_key(cache, name, key)
    return found


def local_folder(name: str) -> Path | None:
    """Return the directory that ``name`` means, or None if it is to be sought on the hub."""
    provided = provided_folder(name)
    if provided is not None and provided.is_dir():
        return provided
    here = Path(name).expanduser()
    return here if name and name not in HUB_NAMES and here.is_dir() else None


def provided_folder(name: str) -> Path | None:
    """Return where ``name`` would lie in $SPARSEFIELD_DATA, or None if that is not set."""
    provided = os.environ.get("SPARSEFIELD_DATA")
    if not provided or not name:
        return None
    if not Path(provided).is_dir():
        raise InvalidInput(
            f"SPARSEFIELD_DATA={provided!r} is not a directory; "
            "set it to a folder that holds datasets, or unset it"
        )
    return Path(provided) / name


def hub_name(name: str) -> str:
    """Return the name of ``name`` on the hub; :class:`InvalidInput` if it cannot be one."""
    found = HUB_NAMES.get(name, name)
    if not HUB_NAME.fullmatch(found):
        raise InvalidInput(
            f"unknown dataset {name!r}: neither digits, mnist, cifar10, an existing directory "
            "nor a hub name owner/name; check the spelling"
        )
    return found
