"""A model of any class made sparse: its activations swapped, its layers filled, and measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Generator, nn

from sparsefield.errors import InvalidInput
from sparsefield.theory import Point

from .gains import fill_in_order, refit, rescale_activations, set_norms, settle_sums
from .held import checked_ignore
from .initialise import check_head_gain
from .job import Job, left_alone, problems
from .measure import measure
from .order import Sample, as_sampled, read_order, tensors_in
from .plan import vouched
from .refusal import Problem, refuse, unreal
from .rows import Told, rows
from .swap import Swap, swap_modules
from .swap_calls import swap_calls_of
from .table import SparsifyTable

_ROUNDS = 3  # of settling sums: what one changes, the next ones read


def sparsify_(
    model: nn.Module,
    point: Point,
    sample: Sample,
    *,
    ignore: Iterable[str] = (),
    head_gain: float = 1.0,
    generator: Generator | None = None,
    dry_run: bool = False,
) -> SparsifyTable:
    """Make a model of any class sparse, in place: swap its activations, fill its layers, measure.

    Rectifiers (ReLU, GELU, SiLU, ..., modules or function calls) become the point's activation.
    Layers are filled in the order in which the sample runs: by theory, N(0, sigma_w2 / fan_in),
    where they read an activation for which theory vouches; with a gain that makes q = q* on the
    sample where they read something else. A norm before an activation gets gamma^2 = q*, beta = 0;
    one that cannot be set has its activation solved at the q that it gives. Layers that no
    activation follows are heads: N(0, head_gain^2 / fan_in), zero bias.

    Parameters
    ----------
    model
        any module. It keeps its class (``isinstance`` holds), names, dtypes and devices; where a
        function call was replaced, it gains a child ``activation``.
    point
        from :func:`sparsefield.solve`.
    sample
        inputs as the model will read them, 32 or more: a tensor, a tuple of arguments or a dict of
        keywords. It runs without gradients and dropout; batch norms use its own statistics, and
        keep their buffers.
    ignore
        names of sub-modules to leave as they are; '' stands for the model's own parameters.
    head_gain
        std of a head weight times sqrt(fan_in).
    generator
        source of randomness; the global one by default.
    dry_run
        return the table and change nothing.

    Returns
    -------
    A table that keeps apart what theory promises, what was measured on the sample, and what theory
    does not cover, with the reason.

    Raises
    ------
    InvalidInput
        all at once, and nothing is changed then: tensors that are not real yet, a part before an
        activation that cannot be filled, a layer that needs a bias, no activation at all; or a
        sample that the model cannot run.

    >>> import torch
    >>> from sparsefield import solve, sparsify_
    >>> model = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 10))
    >>> point = solve("crelu", sparsity=0.9, q=4.0, clip=1.1)
    >>> table = sparsify_(model, point, torch.randn(32, 64))
    >>> type(model[1]).__name__, table["2"].done, abs(table["1"].zeros - 0.9) < 0.03
    ('CReLU', 'head', True)
    """
    check_head_gain(head_gain)
    ignored = checked_ignore(model, ignore)
    refuse(unreal(model) + _closed(model))
    if next(tensors_in(sample), None) is None:
        raise InvalidInput(f"sample: {type(sample).__name__} holds no tensor; pass inputs")
    job = Job(model, point, sample, ignored, head_gain, generator)
    with ExitStack() as undo, as_sampled(model):
        undo.enter_context(_same_draws(generator))
        table = _sparsified(job, undo)
        if not dry_run:
            undo.pop_all()  # all of it stays
    return table


def _sparsified(job: Job, undo: ExitStack) -> SparsifyTable:
    swap = Swap.of(job.point)
    was = swap_modules(job.model, swap, job.ignored, undo)
    again, failed = swap_calls_of(job.model, job.sample, swap.make, job.names(), undo)
    was |= again
    order = read_order(job.model, job.sample)
    left = left_alone(job, order)
    refuse(problems(job, order, left))
    set_norms(job, order, left, undo)
    rescaled = rescale_activations(job, order, left, undo)
    seen = vouched(order, job.model, left.parts, rescaled)
    moments = fill_in_order(job, order, seen, left, undo)
    for _ in range(_ROUNDS):
        if not settle_sums(job, order, left, undo):
            break
        refit(job, moments, undo)
    modules = {call.name: job.part(call.name) for call in order.calls}
    measured = measure(job.model, job.sample, modules)
    told = Told(order, left, seen, was, failed, set(moments), rescaled, measured)
    return SparsifyTable(tuple(rows(job, told)))


def _closed(model: nn.Module) -> list[Problem]:
    """Parts whose inside cannot be changed any more."""
    return [
        Problem(f"{name or 'model'}: {type(part).__name__} is compiled; give what it was made of")
        for name, part in model.named_modules()
        if isinstance(part, torch.jit.ScriptModule) or "_orig_mod" in part._modules
    ]


@contextmanager
def _same_draws(generator: Generator | None) -> Iterator[None]:
    """Put the source of randomness back to where it was."""
    state = torch.get_rng_state() if generator is None else generator.get_state()
    try:
        yield
    finally:
        if generator is None:
            torch.set_rng_state(state)
        else:
            generator.set_state(state)
