"""The runs that a sweep file asks for, each with a complete config, checked before any starts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sparsefield.errors import InvalidInput, SparsefieldError
from sparsefield.sweep.naming import run_name
from sparsefield.train import TrainConfig
from sparsefield.train.config import unknown_key
from sparsefield.train.configfile import overlaid, read_mapping

KEYS = ("base", "grid", "list", "seeds")
MOST = 100_000
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
    base, grid, arms = _base(content, folder), _swept(content), _arms(content)
    fields = tuple(dict.fromkeys([*itertools.chain(*arms), *grid]))
    _check_apart(arms, grid)
    seeds = _seeds(content, base)
    points = [dict(zip(grid, point, strict=True)) for point in _combinations(grid, arms, seeds)]
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
    if isinstance(base, str):
        base = read_mapping(folder / base)
    return _fields(base, "base")


def _swept(content: Fields) -> dict[str, list[Any]]:
    grid = _fields(_wanted(content, "grid", {}), "grid")
    for field, values in grid.items():
        _check_values(f"grid: {field}", values)
    return grid


def _arms(content: Fields) -> list[Fields]:
    arms = _wanted(content, "list", [{}])
    if not isinstance(arms, list) or not arms:
        raise InvalidInput(f"list={arms!r}: must be a list of mappings of fields, at least one")
    return [_fields(arm, "list") for arm in arms]


def _wanted(content: Fields, key: str, default: Any) -> Any:
    """A key's value; a key that is written and left empty is a slip, not a default."""
    if key in content and not content[key]:
        raise InvalidInput(f"{key}={content[key]!r}: is empty; give it something, or leave it out")
    return content.get(key, default)


def _fields(values: Any, where: str) -> Fields:
    if not isinstance(values, dict):
        raise InvalidInput(f"{where}={values!r}: must be a mapping of fields of the config")
    for field in values:
        if field not in TrainConfig.model_fields:
            raise InvalidInput(f"{where}: {unknown_key(str(field))}")
        if field == "seed" and where != "base":
            raise InvalidInput(f"{where}: seed belongs under seeds, which every arm is given")
    return dict(values)


def _seeds(content: Fields, base: Fields) -> list[int]:
    seeds = content.get("seeds", [base.get("seed", 0)])
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        if not 0 < seeds <= MOST:
            raise InvalidInput(f"seeds={seeds}: must be between 1 and {MOST}, or a list of seeds")
        seeds = list(range(seeds))
    _check_values("seeds", seeds)
    return list(seeds)


def _check_values(where: str, values: Any) -> None:
    if not isinstance(values, list) or not values:
        raise InvalidInput(f"{where}={values!r}: must be a list of at least one value")
    for value in values:
        if isinstance(value, dict):
            raise InvalidInput(f"{where}: {value!r} is no value of a field")
        if sum(value == other for other in values) > 1:
            raise InvalidInput(f"{where}: {value!r} is there twice; name each value once")


def _check_apart(arms: list[Fields], grid: Fields) -> None:
    for field in grid:
        if any(field in arm for arm in arms):
            raise InvalidInput(f"{field}: is both in grid and in list; leave it out of one of them")


def _combinations(
    grid: dict[str, list[Any]], arms: list[Fields], seeds: list[int]
) -> Iterator[tuple[Any, ...]]:
    count = len(arms) * len(seeds) * math.prod(map(len, grid.values()))
    if count > MOST:
        raise InvalidInput(f"{count} runs: more than {MOST}; split the sweep")
    return itertools.product(*grid.values())


def _check_different(runs: tuple[NamedConfig, ...]) -> None:
    seen: dict[TrainConfig, str] = {}
    for run in runs:
        other = seen.setdefault(run.config, run.name)
        if other is not run.name:
            same = f"s {other} and {run.name} are the same"
            twice = f" {run.name} is there twice"
            problem = twice if other == run.name else same
            raise InvalidInput(f"run{problem}; leave one of them out")
