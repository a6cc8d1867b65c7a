"""TrainConfig: everything that fixes a run; shared by the command line, YAML and Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sparsefield.errors import InvalidInput
from sparsefield.train.consistency import CLIPPED, check_together, heights

if TYPE_CHECKING:
    from sparsefield.theory import Point, VarianceMap
    from sparsefield.theory.winners import WinnersMap

UNCLIPPED = ("relu", "st", "topk")
DEFAULT_CLIP = 1.1
# Of a run that is led from where training is easy to the zeros that it is to hold.
LED_SPARSITY, LED_CLIP, LED_LR = 0.5, 2.0, 2e-3
DEFAULT_EPOCHS, DEFAULT_STEPS = 10, 1500
# Named together by records alone, which hold every field: one without an engine was dense.
_RECORDED = {"seed", "device", "threads", "precision", "log_every", "checkpoint_every", "strides"}
DEFAULT_LR = {"sgd": 2e-3, "adam": 3e-4, "adamw": 3e-4}


class TrainConfig(BaseModel):
    """One training run, complete: data, network, initialisation, optimiser and record.

    Every field is a flag of ``sparsefield train`` and a key of ``config.yaml``. A value that
    breaks a rule raises :class:`sparsefield.errors.InvalidInput` with one line.

    >>> TrainConfig(sparsity=0.85, m=2.0).m
    2.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    data: str = Field(
        "digits",
        description="digits, mnist, cifar10, a name on the Hugging Face hub, or a directory",
    )
    normalise: Literal["both", "channel", "sample", "none"] = Field(
        "both",
        description="scale the inputs per channel, per sample to unit second moment, or both",
    )
    validation: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the training images kept apart, to choose between runs by; the same "
        "images whatever the seed",
    )
    network: Literal["dnn", "cnn"] = Field(
        "dnn", description="fully connected, or 3x3 convolutions with a linear head"
    )
    depth: int = Field(30, ge=1, description="number of hidden layers")
    width: int = Field(300, ge=1, description="units of a hidden layer (cnn: channels)")
    skip: float = Field(
        0.0, ge=0, lt=1, description="share of the variance carried by the skip; 0: plain network"
    )
    family: Literal["crelu", "cst", "relu", "st", "topk"] = Field(
        "crelu",
        description="activation: clipped or shifted ReLU, clipped or plain soft threshold, or the "
        "largest units of each sample (cnn: of its channels at each position)",
    )
    sparsity: float = Field(
        0.9,
        gt=0,
        lt=1,
        description="share of exact zeros after each activation at initialisation (topk: always)",
    )
    q: float = Field(4.0, gt=0, description="fixed variance q* of the pre-activations")
    clip: Annotated[float, Field(gt=0)] | Literal["auto"] | None = Field(
        None,
        description=f"clip height in units of sqrt(q*); {DEFAULT_CLIP} for the clipped families "
        "when none of clip, m and slope is given; auto: the largest with which fewer than 1 % of "
        "plain networks of this width and depth leave [q*/2, 2 q*]",
    )
    m: float | None = Field(
        None, gt=0, description="clip height in absolute units, in place of clip"
    )
    slope: float | None = Field(
        None, description="slope V'(q*) of the variance map to solve the clip for, in place of clip"
    )
    chi1: Annotated[float, Field(gt=0)] | Literal["typical"] = Field(
        1.0,
        description="factor on squared gradients per layer; 1: the edge of chaos; typical: the one "
        "that keeps the typical gradient of a plain network of this width level; topk: not to be "
        "chosen, and below 1 at a sparsity above 1/2",
    )
    init: Literal["eoc", "torch"] = Field(
        "eoc",
        description="solved edge-of-chaos initialisation (topk, which has none: the scale that "
        "keeps the variance), or PyTorch's default",
    )
    weights: Literal["gaussian", "orthogonal", "delta"] = Field(
        "gaussian", description="law of the weights (delta: delta-orthogonal, cnn only)"
    )
    head_gain: float = Field(
        3.0, gt=0, description="std of a head weight times sqrt(fan_in): scales the first logits"
    )
    padding: Literal["circular", "zeros"] = Field("circular", description="padding (cnn)")
    strides: tuple[int, ...] = Field(
        (), description="layers, counted from 0, that halve the resolution (cnn)"
    )
    pool: int = Field(
        4, ge=1, description="side of the grid to which the last feature map is averaged (cnn)"
    )
    norm: Literal["none", "batch"] = Field(
        "none", description="BatchNorm between a convolution and its activation (cnn)"
    )
    seed: int = Field(
        0, ge=0, lt=2**63, description="fixes the weights and the order of the batches"
    )
    epochs: int | None = Field(
        None,
        ge=1,
        description=f"passes over the training set; by default {DEFAULT_EPOCHS}, or as many as "
        f"make {DEFAULT_STEPS} steps if that is more",
    )
    steps: int | None = Field(
        None, ge=1, description="end after so many optimiser steps, if the epochs have not ended"
    )
    batch: int = Field(
        128,
        ge=1,
        description="images per step over all processes; an epoch's last partial batch is dropped",
    )
    threshold: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="raise the thresholds of a ReLU network in the midst of its training, to this "
        "share of zeros in each layer, and go on training (family relu, sparsity 0.5)",
    )
    threshold_at: float = Field(
        0.7, gt=0, lt=1, description="share of all steps after which the thresholds rise"
    )
    hold: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share of exact zeros at the end, to which a penalty leads that follows the "
        "zeros of each step. Where only this is given and not the start, a network with the skip "
        f"starts at sparsity {LED_SPARSITY:g} and clip {LED_CLIP:g}, and Adam at {LED_LR:g}; one "
        "without starts at the end. By default nothing is held",
    )
    penalty: Literal["none", "l1", "hoyer"] = Field(
        "none",
        description="added to the loss that is minimised, not to the one recorded: the mean size "
        "of the activations, or their Hoyer-square per value (free of scale)",
    )
    penalty_weight: float | None = Field(
        None, ge=0, description="factor on the penalty's mean over the layers"
    )
    optimizer: Literal["sgd", "adam", "adamw"] = Field("adam", description="optimiser")
    lr: float | None = Field(
        None,
        gt=0,
        description="peak learning rate; by default "
        + ", ".join(f"{rate:g} ({name})" for name, rate in DEFAULT_LR.items()),
    )
    lr_first: float = Field(
        1.0, gt=0, description="factor on the learning rate of the first layer's weights"
    )
    lr_bias: float = Field(
        1.0, gt=0, description="factor on the learning rate of the hidden layers' biases"
    )
    lr_head: float = Field(
        1.0, gt=0, description="factor on the learning rate of the head's weights"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum (sgd)")
    weight_decay: float = Field(0.0, ge=0, description="weight decay")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="learning rate after the warm-up: cosine to zero, or constant"
    )
    warmup: float = Field(
        0.02,
        ge=0,
        lt=1,
        description="share of all steps over which the learning rate rises linearly",
    )
    grad_clip: float | None = Field(
        None, gt=0, description="largest norm of the whole gradient; off by default"
    )
    monitor_every: int = Field(50, ge=0, description="steps between layer measurements; 0: never")
    log_every: int = Field(
        50, ge=1, description="steps between rows of metrics.parquet; each epoch ends with one too"
    )
    checkpoint_every: float = Field(
        60.0, ge=0, description="seconds between checkpoints; 0: after every step"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: cuda where there is one"
    )
    threads: int | None = Field(
        None,
        ge=1,
        description="CPU threads, by default as many as PyTorch chooses; they are part of what the "
        "result depends on to the last bit",
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="bf16: matrix products under autocast, weights stay fp32"
    )

    engine: Literal["auto", "dense", "sparse"] = Field(
        "auto",
        description="how a step is computed: dense by PyTorch; sparse: on the lists of active "
        "units; auto: as is measured to be faster here on the first steps, kept in engine.json",
    )

    def __init__(self, **values: Any) -> None:
        values = {**_start(values), **values}
        if values.keys() >= _RECORDED:
            values = {"engine": "dense", **values}
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InvalidInput(_one_line(error)) from None

    @field_validator("*", mode="before")
    @classmethod
    def _no_switches(cls, value: Any) -> Any:
        # YAML reads yes / no / on / off as booleans, which pydantic would take for 1 and 0.
        listed = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(item, bool) for item in listed):
            raise ValueError("should not be true or false (YAML reads yes, no, on, off so too)")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_together(self)
        return self

    def resolved(self) -> TrainConfig:
        """The same run with every default that depends on another field written out."""
        changes: dict[str, Any] = {}
        if not heights(self):
            changes |= _default_heights(self)
        if self.clip == "auto" or self.chi1 == "typical":
            point = self.model_copy(update=changes).point()
            changes |= {"clip": point.clip} if self.clip == "auto" else {}
            changes["chi1"] = point.chi1
        if self.lr is None:
            changes["lr"] = _default_lr(self)
        return self.model_copy(update=changes)

    def solved(self) -> tuple[TrainConfig, Point]:
        """The run with every default written out, and its point.

        It is solved from what is written out, as whoever reads ``config.yaml`` solves it: for
        ``clip="auto"`` the last bit of what the choice of the clip has found may differ.
        """
        config = self.resolved()
        return config, config.point()

    def point(self) -> Point:
        """Solve for the thresholds and variances of this run; errors are those of ``solve``."""
        from sparsefield.theory import solve, winners_point

        if self.family == "topk":
            return winners_point(self.sparsity, self.q, self.width)
        return solve(
            self.family,
            sparsity=self.sparsity,
            q=self.q,
            chi1=self.chi1,
            width=self.width,
            depth=self.depth,
            **(heights(self) or _default_heights(self)),
        )

    @property
    def taps(self) -> int:
        """Fan-in per input unit or channel."""
        return 9 if self.network == "cnn" else 1

    def variance_map(self, point: Point, *, skip: float | None = None) -> VarianceMap | WinnersMap:
        """V of the layers after the first, at initialisation; ``skip`` in place of the config's.

        PyTorch's default draws weights and biases uniformly with variance 1 / (3 fan_in), so that
        sigma_w2 = 1/3 and sigma_b2 = 1 / (3 fan_in).
        """
        solved: Any = point.variance_map(skip=self.skip if skip is None else skip)
        default = {"sigma_w2": 1 / 3, "sigma_b2": 1 / (3 * self.taps * self.width)}
        found: VarianceMap | WinnersMap = replace(
            solved, **(default if self.init == "torch" else {})
        )
        return found


def default_epochs(steps_per_epoch: int) -> int:
    """Epochs of a run that names none: a small training set is passed over more often."""
    return max(DEFAULT_EPOCHS, -(-DEFAULT_STEPS // steps_per_epoch))


def _start(values: Mapping[str, Any]) -> dict[str, Any]:
    """The zeros at the start, of a run that names only those at the end."""
    if values.get("hold") is None or "sparsity" in values:
        return {}
    try:
        end, led = float(values["hold"]), float(values.get("skip", 0.0)) > 0.0
    except (TypeError, ValueError):  # the check of the fields says what is wrong
        return {}
    start = min(end, LED_SPARSITY) if led else end
    return {"sparsity": start} if 0.0 < start < 1.0 else {}


def _is_led(config: TrainConfig) -> bool:
    """Whether the zeros at the end are others than those at the start."""
    return config.hold is not None and config.skip > 0.0 and config.sparsity <= LED_SPARSITY


def _default_lr(config: TrainConfig) -> float:
    led = _is_led(config) and config.optimizer != "sgd"
    return LED_LR if led else DEFAULT_LR[config.optimizer]


def _default_heights(config: TrainConfig) -> dict[str, Any]:
    clip = LED_CLIP if _is_led(config) else DEFAULT_CLIP
    return {"clip": clip} if config.family in CLIPPED else {}


def _one_line(error: ValidationError) -> str:
    """The first of pydantic's complaints: value, rule, and what the field is for."""
    first, *others = error.errors(include_url=False)
    more = f" (and {len(others)} more)" if others else ""
    rule = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if not first["loc"]:
        return rule + more
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return unknown_key(name) + more
    field = TrainConfig.model_fields[name]
    return f"{name}={first['input']!r}: {rule}; {name} is: {field.description}{more}"


def unknown_key(name: str) -> str:
    """The message for a key that is no field, naming the field nearest to it."""
    from difflib import get_close_matches

    near = get_close_matches(name, TrainConfig.model_fields, n=1, cutoff=0.0)
    return f"unknown key {name!r}: not a field of the config; did you mean {near[0]!r}?"
