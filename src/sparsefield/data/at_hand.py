"""Whether a dataset can be loaded without a network."""

from __future__ import annotations

from sparsefield.data.cache import cache_folder, recall_key, tensor_file
from sparsefield.data.loading import HUB_NAMES, local_folder


def at_hand(name: str) -> bool:
    """Whether ``name`` is embedded, a directory, or a hub dataset that is in the cache.

    >>> at_hand("digits"), at_hand("nobody/has-this")
    (True, False)
    """
    if name == "digits" or local_folder(name) is not None:
        return True
    cache = cache_folder(None)
    key = recall_key(cache, HUB_NAMES.get(name, name))
    return key is not None and tensor_file(cache, key).exists()
