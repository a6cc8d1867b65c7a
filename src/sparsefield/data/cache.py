"""Decoded datasets on disk: one safetensors file for each content, written whole or not at all."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sparsefield.data.dataset import TENSORS, Decoded
from sparsefield.errors import InvalidInput

FORMAT = "1"  # raise it when decoding changes: files of another format are decoded again


def cache_folder(cache: str | os.PathLike[str] | None) -> Path:
    """Return ``cache``, or $SPARSEFIELD_CACHE, or ``sparsefield`` in the user's cache folder."""
    chosen = cache or os.environ.get("SPARSEFIELD_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "sparsefield"


def recall(folder: Path, key: str) -> Decoded | None:
    """Return the dataset stored under ``key``, or None where it is absent or damaged."""
    try:
        with safe_open(tensor_file(folder, key), framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in TENSORS}
            decoded = Decoded(**tensors, classes=int(about["classes"]), scale=float(about["scale"]))
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    intact = about.get("format") == FORMAT and about.get("digest") == decoded.digest
    return decoded if intact else None


def store(folder: Path, key: str, decoded: Decoded) -> None:
    """Store ``decoded`` under ``key``."""
    about = {
        "format": FORMAT,
        "digest": decoded.digest,
        "classes": str(decoded.classes),
        "scale": repr(decoded.scale),
    }
    tensors = {name: getattr(decoded, name).contiguous() for name in TENSORS}
    with replacing(tensor_file(folder, key)) as part:
        save_file(tensors, part, metadata=about)
        # safetensors writes for the owner alone; a cache may be shared, as its folder says.
        part.chmod(folder.stat().st_mode & 0o666)


def recall_key(folder: Path, hub_name: str) -> str | None:
    """Return the key that ``hub_name`` was last stored under, or None."""
    try:
        key = json.loads(name_file(folder, hub_name).read_text(encoding="utf-8"))["key"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return key if isinstance(key, str) else None


def store_key(folder: Path, hub_name: str, key: str) -> None:
    """Remember that ``hub_name`` is stored under ``key``."""
    with replacing(name_file(folder, hub_name)) as part:
        part.write_text(json.dumps({"name": hub_name, "key": key}), encoding="utf-8")


def tensor_file(folder: Path, key: str) -> Path:
    """Where the tensors of ``key`` lie."""
    return folder / f"{key}.safetensors"


def name_file(folder: Path, hub_name: str) -> Path:
    """Where the key of ``hub_name`` lies."""
    return folder / f"hub--{hub_name.replace('/', '--')}.json"


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Make ``folder``; a failure to write there, in the block too, is :class:`InvalidInput`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, SafetensorError) as error:
        raise InvalidInput(
            f"cache folder {str(folder)!r} cannot be written ({error}); "
            "set SPARSEFIELD_CACHE to a folder that can"
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; it takes the place of ``path`` if all goes well."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with writable(path.parent):
            yield part
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)
