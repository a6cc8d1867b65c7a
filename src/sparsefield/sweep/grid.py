"""The runs that a sweep file asks for, each with a complete config, checked before any starts."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sparsefield.errors import InvalidInput, SparsefieldError
from sparsefield.train import TrainConfig
from sparsefield.train.config import unknown_key
from sparsefield.train.configfile import overlaid, read_mapping

KEYS = ("base", "grid", "list", "seeds")
MOST = 100_000
_LONGEST = 100
_FOREIGN = re.compile(r"[^A-Za-z0-9._+-]")
Fields = dict[str, Any]


@dataclass(frozen=True)
class NamedConfig:
    """One run: its name, which is that of its directory too, and its config."""

    name: str
    config: TrainConfig


@dataclass(frozen=True)
class Grid:
    """The runs of a sweep in their order, the fields that it sweeps over, and its file's text."""

    runs: tuple[NamedConfig, ...]
    fields: tuple[str, ...]
    text: str


def read_grid(source: str | Path | Mapping[str, Any]) -> Grid:
    """Read a sweep file, or take its content as a mapping, and expand it.

    ``base`` holds the fields that all runs share, or names a config file (relative to the sweep
    file); ``grid`` maps fields to lists of values, of which every combination is made; ``list``
    holds mappings of fields, one an arm; ``seeds`` is a list, or a number n for 0 .. n - 1. With
    both grid and list every arm of the list is combined with every point of the grid. A run that
    names no ``threads`` takes 1, so that its result does not depend on how many run at a time, and
    one that names no ``engine`` is dense.

    Raises
    ------
    InvalidInput
        In one line: a file that cannot be read, an unknown key or field, an empty or repeated
        list, two runs that are the same, or a run whose config or point is impossible.

    >>> grid = read_grid({"base": {"depth": 5}, "grid": {"q": [1, 4]}, "seeds": 2})
    >>> [run.name for run in grid.runs]
    ['q1-seed0', 'q4-seed0', 'q1-seed1', 'q4-seed1']
    """
    if isinstance(source, Mapping):
        return _expanded(dict(source), Path(), yaml.safe_dump(dict(source), sort_keys=False))
    path = Path(source)
    content = read_mapping(path)
    try:
        return _expanded(content, path.parent, path.read_text(encoding="utf-8"))
    except SparsefieldError as error:
        raise InvalidInput(f"{path}: {error}") from None


def _expanded(content: Fields, folder: Path, text: str) -> Grid:
    for key in content:
        if key not in KEYS:
            raise InvalidInput(f"unknown key {key!r}: a sweep has {', '.join(KEYS)}")
    base, swept, arms = _base(content, folder), _swept(content), _arms(content)
    seeds = _seeds(content, base)
    fields = tuple(dict.fromkeys([*itertools.chain(*arms), *swept]))
    for field in swept:
        if any(field in arm for arm in arms):
            raise InvalidInput(f"{field}: is both in grid and in list; leave it out of one of them")
    count = len(arms) * len(seeds) * math.prod(map(len, swept.values()))
    if count > MOST:
        raise InvalidInput(f"{count} runs: more than {MOST}; split the sweep")
    points = [dict(zip(swept, point, strict=True)) for point in itertools.product(*swept.values())]
    runs = tuple(
        _named(base, {**arm, **point}, seed) for seed in seeds for arm in arms for point in points
    )
    _check_different(runs)
    return Grid(runs, fields, text)


def _named(base: Fields, values: Fields, seed: int) -> NamedConfig:
    given = overlaid({"threads": 1, "engine": "dense", **base}, values)
    try:
        config = TrainConfig(**{**given, "seed": seed})
        _check_engine(config)
        name = run_name({field: getattr(config, field) for field in values}, seed)
        solved = _solved(config.model_copy(update={"seed": 0}))
        return NamedConfig(name, solved.model_copy(update={"seed": seed}))
    except SparsefieldError as error:
        raise InvalidInput(f"run {run_name(values, seed)}: {error}") from None


def _check_engine(config: TrainConfig) -> None:
    if config.engine == "auto":
        raise InvalidInput(
            "engine=auto: chooses by what it measures, and the table would depend on the machine; "
            "give engine dense or sparse"
        )


@cache
def _solved(config: TrainConfig) -> TrainConfig:
    """Every default written out, and the point solved once for all seeds: it must exist."""
    resolved = config.resolved()
    resolved.point()
    return resolved


def _base(content: Fields, folder: Path) -> Fields:
    base = content.get("base") or {}
    return _fields(read_mapping(folder / base) if isinstance(base, str) else base, "base")


def _swept(content: Fields) -> dict[str, list[Any]]:
    _check_written("grid", content)
    swept = _fields(content.get("grid", {}), "grid")
    for field, values in swept.items():
        _check_values(f"grid: {field}", values)
    return swept


def _arms(content: Fields) -> list[Fields]:
    _check_written("list", content)
    arms = content.get("list", [{}])
    if not isinstance(arms, list):
        raise InvalidInput(f"list={arms!r}: must be a list of mappings of fields")
    return [_fields(arm, "list") for arm in arms]


def _seeds(content: Fields, base: Fields) -> Sequence[int]:
    seeds = content.get("seeds", [base.get("seed", 0)])
    if type(seeds) is int:  # which True is not
        if seeds < 1:
            raise InvalidInput(f"seeds={seeds}: must be at least 1, or a list of seeds")
        return range(seeds)
    _check_values("seeds", seeds)
    return list(seeds)


def _check_written(key: str, content: Fields) -> None:
    if key in content and not content[key]:  # a slip, not a default
        raise InvalidInput(f"{key}={content[key]!r}: is empty; give it something, or leave it out")


def _fields(values: Any, where: str) -> Fields:
    if not isinstance(values, dict):
        raise InvalidInput(f"{where}={values!r}: must be a mapping of fields of the config")
    for field in values:
        if field not in TrainConfig.model_fields:
            raise InvalidInput(f"{where}: {unknown_key(str(field))}")
        if field == "seed" and where != "base":
            raise InvalidInput(f"{where}: seed belongs under seeds, which every arm is given")
    return dict(values)


def _check_values(where: str, values: Any) -> None:
    if not isinstance(values, list) or not values:
        raise InvalidInput(f"{where}={values!r}: must be a list of at least one value")
    for value in values:
        if isinstance(value, dict):
            raise InvalidInput(f"{where}: {value!r} is no value of a field")
        if values.count(value) > 1:
            raise InvalidInput(f"{where}: {value!r} is there twice; name each value once")


def _check_different(runs: tuple[NamedConfig, ...]) -> None:
    seen: dict[TrainConfig, NamedConfig] = {}
    for run in runs:
        other = seen.setdefault(run.config, run)
        if other is not run:
            raise InvalidInput(f"runs {other.name} and {run.name} are the same; leave one out")


def run_name(values: Mapping[str, Any], seed: int) -> str:
    """A folder name from what sets a run apart, so that adding runs renames none.

    What a file name cannot hold is replaced; eight digits of a hash of the values then keep the
    names apart.

    >>> run_name({"q": 4.0, "clip": "auto"}, 1)
    'q4-clipauto-seed1'
    >>> run_name({"data": "../mnist"}, 0)
    'data.._mnist-f127fd13-seed0'
    """
    words = "-".join(field + _word(value) for field, value in values.items())
    name = _FOREIGN.sub("_", words)
    if name != words or len(name) > _LONGEST:
        text = json.dumps(dict(values), sort_keys=True)
        name = f"{name[:_LONGEST]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return f"{name}-seed{seed}" if name else f"seed{seed}"


def _word(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, list | tuple):
        return "+".join(map(_word, value)) or "none"
    return str(value)
