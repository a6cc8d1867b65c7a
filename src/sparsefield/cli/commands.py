"""One function per command: read the flags, make one call, print."""

from __future__ import annotations

import json as jsonlib
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from sparsefield.errors import InvalidInput

from .bench import bench
from .demo import demo
from .energy import energy
from .flags import Flags, given
from .pictures import figure, phase_map
from .report import report
from .reproduce import reproduce
from .sweep import sweep

Json = Annotated[bool, tyro.conf.arg(help="print one JSON object and nothing else")]


def solve(
    family: Literal["crelu", "cst", "relu", "st"],
    sparsity: float,
    q: float = 1.0,
    clip: float | Literal["auto"] | None = None,
    m: float | None = None,
    slope: float | None = None,
    chi1: float | Literal["typical"] = 1.0,
    width: int | None = None,
    depth: int | None = None,
    escape: float = 0.01,
    certificate: bool = False,
    json: Json = False,
) -> None:
    """Solve for the initialisation at a target sparsity and variance.

    Parameters
    ----------
    family
        clipped ReLU, clipped soft threshold, shifted ReLU or soft threshold
    sparsity
        share of exact zeros after each activation, in (0, 1)
    q
        variance q* of the pre-activations
    clip
        clip height in units of sqrt(q*); auto: the largest that is safe at this width and depth
    m
        clip height in absolute units, in place of clip
    slope
        slope V'(q*) to solve the clip for, in place of clip
    chi1
        factor on squared gradients per layer; 1 is the edge of chaos; typical: the one that keeps
        the typical gradient level at this width
    width
        with depth: what a network of finite width does
    depth
        with width: number of hidden layers
    escape
        chance of leaving [q*/2, 2 q*] that clip auto allows
    certificate
        add the verdict on the fixed point, with its reasons
    json
        print one JSON object and nothing else
    """
    from sparsefield import theory

    if depth is None and width is not None and chi1 != "typical":
        raise InvalidInput(
            f"width {width} given alone: finite width needs both --width and --depth"
        )
    if width is None and depth is not None:
        raise InvalidInput(
            f"depth {depth} given alone: finite width needs both --width and --depth"
        )
    point = theory.solve(
        family,
        sparsity=sparsity,
        q=q,
        clip=clip,
        m=m,
        slope=slope,
        chi1=chi1,
        width=width,
        depth=depth,
        escape=escape,
    )
    answer, table = point.to_dict(), str(point)
    if width is not None and depth is not None:
        answer["finite_width"], rows = _finite_width(point, width, depth)
        table += rows
    if certificate:
        verdict = theory.certify(point)
        answer["certificate"] = verdict.to_dict()
        table += f"\n\n{verdict}"
    print(jsonlib.dumps(answer, allow_nan=False) if json else table)


def train(
    flags: Annotated[Flags, tyro.conf.OmitArgPrefixes],  # type: ignore[valid-type]
    config: Annotated[Path | None, tyro.conf.Positional] = None,
    out: Path | None = None,
    resume: bool = False,
    json: Json = False,
) -> None:
    """Train a network and record the run in a directory.

    Parameters
    ----------
    flags
        every field of the config
    config
        a YAML file; flags go over it
    out
        run directory; by default under runs/, named after the run
    resume
        go on from the checkpoint in the run directory
    json
        print one JSON object and nothing else
    """
    from sparsefield.train import load_config, train

    if resume and config is None and out is not None and (out / "config.yaml").exists():
        config = out / "config.yaml"
    chosen = load_config(config, given(flags)).resolved()
    directory = out or _default_out(chosen)
    result = train(chosen, out=directory, resume=resume, progress=not json)
    if int(os.environ.get("RANK", "0")) != 0:
        return
    if json:
        print(jsonlib.dumps(result.to_dict(), allow_nan=False))
    else:
        print(_summary(result, directory))


COMMANDS: dict[str, Callable[..., None]] = {
    "solve": solve,
    "train": train,
    "sweep": sweep,
    "demo": demo,
    "report": report,
    "reproduce": reproduce,
    "map": phase_map,
    "figure": figure,
    "bench": bench,
    "energy": energy,
}


def _finite_width(point: Any, width: int, depth: int) -> tuple[dict[str, float], str]:
    """The contract's keys, and rows for the table."""
    from sparsefield import theory

    vmap = point.variance_map()
    finite = theory.finite_width(vmap, point.q, width=width, depth=depth)
    keys = ("q_mean", "q_std", "escape_probability")
    how = "transfer operator" if finite.draws is None else f"{finite.draws} draws"
    rows = (
        f"\nfinite_width Q at depth > L/2  {finite.q_mean:.6g} +- {finite.q_std:.3g}"
        f"\nescape       Q outside [q*/2, 2q*]  {finite.escape_probability:.4g}"
        f" (width {width}, depth {depth}, {how})"
    )
    return {key: getattr(finite, key) for key in keys}, rows + _gradients(point, width, depth)


def _gradients(point: Any, width: int, depth: int) -> str:
    """A row on the growth of squared gradients, where its first order in 1 / width holds."""
    from sparsefield.theory.design import NOISE
    from sparsefield.theory.gradients import gradient_rates

    if abs(point.slope) > 1.0 - 1e-9:
        return ""
    rates = gradient_rates(point.variance_map(), point.q, width)
    if rates.variance > NOISE:
        return ""
    decades = (depth - 1) / math.log(10.0)
    return (
        f"\ngradients    |g_1|^2 / |g_L|^2  typically 10^{rates.typical * decades:.2f}, "
        f"in the mean 10^{rates.mean * decades:.2f} (first order in 1 / width)"
    )


def _default_out(config: Any) -> Path:
    source = Path(config.data).name
    held = "" if config.hold is None else f"-hold{config.hold:g}"
    return Path("runs") / (
        f"{source}-{config.network}-{config.family}-depth{config.depth}-width{config.width}"
        f"-s{config.sparsity:g}{held}-q{config.q:g}-skip{config.skip:g}-{config.init}"
        f"-seed{config.seed}"
    )


def _engine(told: dict[str, Any] | None) -> str:
    if not told or not told["layers_on_lists"]:
        reason = told and told["reason"]
        return f"dense ({reason})" if reason else "dense"
    gain = told["speedup"]
    measured = f", {gain:.1f} times as fast as dense, as measured" if gain else ""
    return f"lists in {told['layers_on_lists']} of {told['of']} layers that can{measured}"


def _dead(share: float | None) -> str:
    """Older records lack it."""
    return "" if share is None else f"dead units     {share:.4f} (fire for no test image)\n"


def _summary(result: Any, directory: Path) -> str:
    state = f"failed: {result.reason}" if result.failed else "trained"
    return (
        f"{state}\n"
        f"test accuracy  {100 * result.test_accuracy:.2f} %\n"
        f"sparsity       {result.sparsity_mean:.4f} (at initialisation "
        f"{sum(result.sparsity_init) / len(result.sparsity_init):.4f})\n"
        f"{_dead(result.dead_share)}"
        f"steps          {result.steps} in {result.seconds:.1f} s\n"
        f"engine         {_engine(result.engine)}\n"
        f"record         {directory}"
    )
