"""A study: a question, and the sweeps that answer it, on a small scale and on the paper's."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from typing import Any, Literal, get_args

import yaml

from sparsefield.errors import InvalidInput
from sparsefield.studies.which_data import data_for
from sparsefield.train import TrainConfig

Scale = Literal["small", "paper"]
SCALES: tuple[Scale, ...] = get_args(Scale)
KEYS = ("title", "question", "source", "tuned", *SCALES)
_WORDS = ("title", "question", "source")


@dataclass(frozen=True)
class Study:
    """One study of the catalogue.

    Attributes
    ----------
    name
        of its file, its page and its record.
    title, question, source
        a headline; a sentence or two; paper, table or figure.
    tuned
        fields of the config that are chosen in each arm, by validation accuracy.
    small, paper
        name of a part -> content of a sweep file.
    """

    name: str
    title: str
    question: str
    source: str
    tuned: tuple[str, ...]
    small: Mapping[str, Mapping[str, Any]]
    paper: Mapping[str, Mapping[str, Any]]

    def parts(self, scale: Scale = "small", data: str | None = None) -> dict[str, dict[str, Any]]:
        """The sweep of each part at a scale, with the data that will be used written out.

        Parameters
        ----------
        scale
            small: minutes to an hour; paper: the sizes of the source.
        data
            in place of what the parts name; ``auto``: see
            :func:`sparsefield.studies.which_data.data_for`.

        Raises
        ------
        InvalidInput
            An unknown scale, or data given to a part that sweeps over data.
        """
        if scale not in SCALES:
            raise InvalidInput(f"scale={scale!r}: choose one of {', '.join(SCALES)}")
        parts: Mapping[str, Mapping[str, Any]] = getattr(self, scale)
        return {part: _with_data(part, content, scale, data) for part, content in parts.items()}

    def data(self, scale: Scale = "small", data: str | None = None) -> tuple[str, ...]:
        """The names of the data that the parts will run on, each once."""
        found = [name for content in self.parts(scale, data).values() for name in _data(content)]
        return tuple(dict.fromkeys(found))


def study_names() -> tuple[str, ...]:
    """The studies of the catalogue, in alphabetical order."""
    names = (path.name for path in _catalogue().iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def study(name: str) -> Study:
    """A study of the catalogue.

    Raises
    ------
    InvalidInput
        There is none of that name; the line names the nearest, and all.

    >>> study("dt26-dnn").tuned
    ('lr',)
    """
    names = study_names()
    if name not in names:
        near = get_close_matches(name, names, n=1, cutoff=0.0)
        raise InvalidInput(
            f"study {name!r}: is unknown; did you mean {near[0]!r}? There are {', '.join(names)}"
        )
    text = (_catalogue() / f"{name}.yaml").read_text(encoding="utf-8")
    return read_study(name, yaml.safe_load(text))


def read_study(name: str, content: Mapping[str, Any]) -> Study:
    """A study from the content of its file; its sweeps are read when they are made.

    Raises
    ------
    InvalidInput
        A missing or unknown key, a tuned field that is none, a part without a base.
    """
    odd = set(KEYS) ^ set(content)
    if odd:
        raise InvalidInput(f"study {name}: {sorted(odd)[0]}: a study has {', '.join(KEYS)}")
    for field in content["tuned"]:
        if field not in TrainConfig.model_fields or field == "seed":
            raise InvalidInput(f"study {name}: tuned={field!r}: is no field that can be tuned")
    values: dict[str, Any] = {key: " ".join(str(content[key]).split()) for key in _WORDS}
    values |= {scale: content[scale] for scale in SCALES}
    found = Study(name=name, tuned=tuple(content["tuned"]), **values)
    _check_parts(found)
    return found


def _catalogue() -> Any:
    return files("sparsefield.studies") / "catalogue"


def _check_parts(found: Study) -> None:
    for scale in SCALES:
        parts = getattr(found, scale)
        if not isinstance(parts, Mapping) or not parts:
            raise InvalidInput(f"study {found.name}: {scale}={parts!r}: must map parts to sweeps")
        for part, content in parts.items():
            _check_part(f"study {found.name}: {scale}: {part}", content)


def _check_part(where: str, content: Any) -> None:
    if not isinstance(content, Mapping) or not isinstance(content.get("base"), Mapping):
        raise InvalidInput(f"{where}: must be a sweep with its base, a mapping of fields")


def _data(content: Mapping[str, Any]) -> list[str]:
    """The data that a sweep names, each once."""
    swept = [*content.get("grid", {}).get("data", [])]
    swept += [fields["data"] for fields in content.get("list", []) if "data" in fields]
    return swept or [content["base"]["data"]]


def _with_data(
    part: str, content: Mapping[str, Any], scale: Scale, data: str | None
) -> dict[str, Any]:
    found = deepcopy(dict(content))
    if any("data" in fields for fields in [found.get("grid", {}), *found.get("list", [])]):
        if data is not None:
            raise InvalidInput(f"data={data!r}: part {part} sweeps over data; leave data out")
        return found
    base = found["base"]
    named = data if data is not None else base.get("data", "digits")
    anything = scale == "small" and data is None  # what is asked for by name is not replaced
    base["data"] = data_for(named, base.get("network", "dnn"), anything=anything)
    return found
