"""A study: a question, the sweeps that answer it, the effects that it measures, and its page."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.resources import files
from typing import Any, Literal, get_args

import yaml

from sparsefield.errors import InvalidInput
from sparsefield.train import TrainConfig

Scale = Literal["small", "paper"]
SCALES: tuple[Scale, ...] = get_args(Scale)
NEEDED = ("title", "question", "source", "tuned", "small")
ALLOWED = ("paper", "names", "effects", "tables", "figure")
PREFERRED = {"dnn": "mnist", "cnn": "cifar10"}
PLAIN = "{setting}\n\n{figure}\n\n{table}\n\n{effects}\n\n{command}\n\n{made}\n"
Content = Mapping[str, Any]


@dataclass(frozen=True)
class Study:
    """One study of the catalogue: its folder's ``study.yaml`` and ``page.md``.

    ``source``: paper, table or figure. ``tuned``: fields of the config that validation chooses in
    each arm. ``small`` and ``paper``: name of a part -> content of a sweep file. ``page``: Markdown
    by hand, with the tags of :mod:`sparsefield.studies.claims`. ``names``: what to call arms, the
    first of which the fields fit. ``effects``, ``tables``, ``figure``: what is measured and shown,
    see :mod:`sparsefield.studies.effects`, :mod:`sparsefield.studies.tables` and
    :mod:`sparsefield.pictures.study`.
    """

    name: str
    title: str
    question: str
    source: str
    tuned: tuple[str, ...]
    small: Mapping[str, Content]
    paper: Mapping[str, Content] = field(default_factory=dict)
    page: str = PLAIN
    names: tuple[Content, ...] = ()
    effects: Mapping[str, Content] = field(default_factory=dict)
    tables: Mapping[str, Content] = field(default_factory=dict)
    figure: Content = field(default_factory=dict)

    def parts(self, scale: Scale = "small", data: str | None = None) -> dict[str, dict[str, Any]]:
        """The sweep of each part at a scale, with the data that will be used written out.

        ``data`` in place of what the parts name; ``auto``: see :func:`data_for`. InvalidInput for
        a scale that the study has not, or data given to a part that sweeps over data.
        """
        there = [one for one in SCALES if getattr(self, one)]
        if scale not in there:
            raise InvalidInput(f"scale={scale!r}: choose one of {', '.join(there)}")
        parts: Mapping[str, Content] = getattr(self, scale)
        return {part: _with_data(part, content, scale, data) for part, content in parts.items()}

    def data(self, scale: Scale = "small", data: str | None = None) -> tuple[str, ...]:
        """The names of the data that the parts will run on, each once."""
        parts = self.parts(scale, data).values()
        return tuple(dict.fromkeys(name for one in parts for name in _data(one)))


def study_names() -> tuple[str, ...]:
    """The studies of the catalogue, in alphabetical order."""
    return tuple(sorted(path.name for path in _catalogue().iterdir() if path.is_dir()))


def study(name: str) -> Study:
    """A study of the catalogue; InvalidInput, which names the nearest, if there is none.

    >>> study("dt26-dnn").tuned
    ('lr',)
    """
    names = study_names()
    if name not in names:
        near = get_close_matches(name, names, n=1, cutoff=0.0)
        raise InvalidInput(
            f"study {name!r}: is unknown; did you mean {near[0]!r}? There are {', '.join(names)}"
        )
    told, page = (_catalogue() / name / file for file in ("study.yaml", "page.md"))
    content = yaml.safe_load(told.read_text(encoding="utf-8"))
    return read_study(name, content, page.read_text(encoding="utf-8") if page.is_file() else PLAIN)


def read_study(name: str, content: Content, page: str = PLAIN) -> Study:
    """A study from the content of its file; its sweeps are read when they are made.

    InvalidInput for a missing or unknown key, a tuned field that is none, a part without base.
    """
    odd = [key for key in content if key not in (*NEEDED, *ALLOWED)]
    odd += [key for key in NEEDED if key not in content]
    if odd:
        keys = f"{', '.join(NEEDED)}, and may have {', '.join(ALLOWED)}"
        raise InvalidInput(f"study {name}: {odd[0]}: a study has {keys}")
    for tuned in content["tuned"]:
        if tuned not in TrainConfig.model_fields or tuned == "seed":
            raise InvalidInput(f"study {name}: tuned={tuned!r}: is no field that can be tuned")
    for scale in SCALES:
        _check_parts(f"study {name}: {scale}", content.get(scale, {}), needed=scale == "small")
    told = {key: " ".join(str(content[key]).split()) for key in NEEDED[:3]}
    lists = {key: tuple(content.get(key, ())) for key in ("tuned", "names")}
    return Study(name=name, page=page, **{**content, **told, **lists})


def data_for(named: str, network: str, *, anything: bool) -> str:
    """The data to use for ``named``: the digits where MNIST or CIFAR-10 is wanted and not at hand.

    ``auto`` is MNIST, for a CNN CIFAR-10. What is named is replaced so only if ``anything`` will
    do: the runs of a paper's own size are not made on other data.

    >>> data_for("digits", "dnn", anything=False)
    'digits'
    """
    from sparsefield.data import at_hand  # which loads PyTorch: a page of a record needs none

    wanted = PREFERRED[network] if named == "auto" else named
    replaceable = named == "auto" or (anything and wanted in PREFERRED.values())
    return "digits" if replaceable and not at_hand(wanted) else wanted


def _catalogue() -> Any:
    return files("sparsefield.studies") / "catalogue"


def _check_parts(where: str, parts: Any, *, needed: bool) -> None:
    if not isinstance(parts, Mapping) or (needed and not parts):
        raise InvalidInput(f"{where}={parts!r}: must map parts to sweeps")
    for part, content in parts.items():
        if not isinstance(content, Mapping) or not isinstance(content.get("base"), Mapping):
            raise InvalidInput(f"{where}: {part}: must be a sweep with its base, a mapping")


def _data(content: Content) -> list[str]:
    """The data of a sweep: one, unless it goes over several."""
    found: list[str] = content.get("grid", {}).get("data", [content["base"].get("data", "digits")])
    return found


def _with_data(part: str, content: Content, scale: Scale, data: str | None) -> dict[str, Any]:
    found = deepcopy(dict(content))
    if "data" in found.get("grid", {}):
        if data is not None:
            raise InvalidInput(f"data={data!r}: part {part} sweeps over data; leave data out")
        return found
    base = found["base"]
    named = data if data is not None else base.get("data", "digits")
    anything = scale == "small" and data is None  # what is asked for by name is not replaced
    base["data"] = data_for(named, base.get("network", "dnn"), anything=anything)
    return found
