"""Names on the Hugging Face hub: find out quickly whether it can be reached, then download."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from sparsefield.errors import InvalidInput, require

PROBE_SECONDS = 5.0
FILES = ("*.parquet", "README.md")  # the README's header may name splits and features
MAIN = "main"
CONVERTED = "refs/convert/parquet"  # where the hub keeps its own parquet copy of other formats


def fetch(name: str) -> Path:
    """Download the hub dataset ``name`` (or find it in the hub's own cache) as a directory.

    Raises :class:`InvalidInput` if there is no such dataset, or if it is not cached and the
    hub does not answer within a few seconds.
    """
    hub = require("huggingface_hub", "data")
    revision = probe(hub, name)
    folder = snapshot(hub, name, revision)
    if folder is None or not any(folder.rglob("*.parquet")):
        raise InvalidInput(unreachable(hub, name) if revision is None else no_parquet(name))
    return folder


def probe(hub: ModuleType, name: str) -> str | None:
    """Return the revision of ``name`` to download, or None where the hub cannot be reached."""
    try:
        # One request without retries: the hub's own download would retry for a minute.
        info = hub.HfApi().dataset_info(name, timeout=PROBE_SECONDS)
    except hub.errors.GatedRepoError as error:
        raise InvalidInput(
            f"hub dataset {name!r} is gated; ask for access on its page and log in to the hub"
        ) from error
    except (hub.errors.RepositoryNotFoundError, hub.errors.HFValidationError) as error:
        raise InvalidInput(
            f"{name!r} is neither an existing directory nor a dataset on the hub; "
            "check the spelling, or log in to the hub if it is private"
        ) from error
    except Exception:  # whatever the network and the client of the day raise
        return None
    return MAIN if has_parquet(info) else CONVERTED


def has_parquet(info: Any) -> bool:
    """Whether a hub repository holds parquet files."""
    return any(file.rfilename.endswith(".parquet") for file in info.siblings or ())


def snapshot(hub: ModuleType, name: str, revision: str | None) -> Path | None:
    """Download ``revision`` of ``name``; without one, look only in the hub's own cache."""
    try:
        folder = hub.snapshot_download(
            name,
            repo_type="dataset",
            revision=revision,
            allow_patterns=list(FILES),
            local_files_only=revision is None,
        )
    except (hub.errors.LocalEntryNotFoundError, hub.errors.RevisionNotFoundError):
        return None
    except (OSError, hub.errors.HfHubHTTPError) as error:
        raise InvalidInput(
            f"hub dataset {name!r} could not be downloaded ({type(error).__name__}); try again"
        ) from error
    return Path(folder)


def unreachable(hub: ModuleType, name: str) -> str:
    """Say that ``name`` is neither here nor to be had."""
    if hub.constants.HF_HUB_OFFLINE:
        cause, remedy = "HF_HUB_OFFLINE is set", "unset it"
    else:
        cause, remedy = "the hub cannot be reached", "connect"
    return (
        f"hub dataset {name!r} is not cached and {cause}; {remedy}, "
        f"or give the path of a directory with its parquet files"
    )


def no_parquet(name: str) -> str:
    """Say that ``name`` is in a form that is not read."""
    return (
        f"hub dataset {name!r} has no parquet files; "
        "save it as parquet and give the path of that directory"
    )
