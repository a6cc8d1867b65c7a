"""Training on lists against dense autograd: gradients, special values, memory, what is refused."""

import copy
import io
import math
import pickle
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from sparsefield import accelerate
from sparsefield.engine.native import kernels
from sparsefield.engine.training import TrainingEngine
from sparsefield.errors import InvalidInput
from sparsefield.nn import CST, DNN, CReLU, FATReLU, ShiftedReLU, SoftThreshold
from sparsefield.theory import solve

from .chains import randn
from .models import ONE_SIDED, TWO_SIDED, dnn, drawn, shared_layer

pytestmark = pytest.mark.skipif(kernels() is None, reason="built without a compiler")
SETS = kernels().instruction_sets() if kernels() else []


def gradients(model: nn.Module, x: Tensor, weights: Tensor) -> list[Tensor]:
    """Of x and of the parameters, of a random linear function of the outputs; outputs first."""
    x = x.detach().clone().requires_grad_()
    model.zero_grad()
    out = model(x)
    (out * weights).sum().backward()
    return [out.detach(), x.grad, *(p.grad for p in model.parameters())]


def error(found: list[Tensor], true: list[Tensor]) -> float:
    """By norm, the largest over the tensors."""
    return max(
        float((a.double() - b).norm() / b.norm()) if b.norm() > 0 else float(a.double().norm())
        for a, b in zip(found, true, strict=True)
    )


def near_no_edge(model: DNN | nn.Sequential, x: Tensor) -> bool:
    """Whether float32 and float64 agree on what is active and what is clipped.

    Where a cut jumps it is not enough that two of them do: no value may lie near it.
    """
    seen, jumps = [], []
    for twin, given_x in ((model, x), (copy.deepcopy(model).double(), x.double())):
        masks = []
        hooks = [
            m.register_forward_hook(
                lambda m, i, o, masks=masks: masks.append((o != 0, o == o.max()))
            )
            for m in twin.modules()
            if isinstance(m, CReLU | CST | FATReLU | ShiftedReLU | SoftThreshold | nn.ReLU)
        ]
        hooks += [
            m.register_forward_hook(
                lambda m, i, o: jumps.append(((i[0] - m.tau).abs() < 1e-4).any().item())
            )
            for m in twin.modules()
            if isinstance(m, FATReLU) and m.tau > 0.0
        ]
        twin(given_x)
        for hook in hooks:
            hook.remove()
        seen.append(masks)
    return not any(jumps) and all(
        torch.equal(a, b)
        for one, two in zip(*seen, strict=True)
        for a, b in zip(one, two, strict=True)
    )


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("point", [ONE_SIDED, TWO_SIDED], ids=["one-sided", "two-sided"])
@pytest.mark.parametrize("skip", [0.0, 0.9])
@pytest.mark.parametrize("width", [33, 300])
def test_gradients_are_as_near_the_truth_as_dense_ones(name, point, skip, width):
    model = dnn(point, width=width, depth=6, skip=skip)
    x, weights = randn(1, 37, 37), randn(2, 37, 7)
    assert near_no_edge(model, x)
    true = gradients(copy.deepcopy(model).double(), x.double(), weights.double())
    dense = gradients(copy.deepcopy(model), x, weights)
    found = gradients(TrainingEngine(model, instruction_set=name), x, weights)
    assert error(found, true) <= 2 * error(dense, true)


def test_what_many_skips_carry_on():
    """Together they take a gradient to 1e-30 of what it was."""
    model = dnn(width=33, depth=60, skip=0.1)
    x, weights = randn(1, 9, 37), randn(2, 9, 7)
    assert near_no_edge(model, x)
    true = gradients(copy.deepcopy(model).double(), x.double(), weights.double())
    dense = gradients(copy.deepcopy(model), x, weights)
    assert error(gradients(TrainingEngine(model), x, weights), true) <= 2 * error(dense, true)


def test_a_gradient_near_the_largest_number_is_carried_on_by_skips():
    model = dnn(width=33, depth=30, skip=0.5)
    for layer in (*model.layers, model.head):
        layer.weight.requires_grad_(False).mul_(1e-6)
    model.head.weight.fill_(1.0)
    x, weights = randn(1, 1, 37), torch.tensor([[3e38] + [0.0] * 6])
    dense = gradients(copy.deepcopy(model), x, weights)
    for a, b in zip(gradients(TrainingEngine(model), x, weights), dense, strict=True):
        assert (a is None and b is None) or torch.allclose(a, b, rtol=1e-4)
    assert 2e38 < max(g.max() for g in dense if g is not None) < math.inf


ACTIVATIONS = st.one_of(
    st.builds(CReLU, st.floats(-0.5, 1.5, width=32), st.sampled_from([0.3, 2.0])),
    st.builds(CST, st.floats(0.0, 1.5, width=32), st.sampled_from([0.3, 2.0])),
    st.builds(ShiftedReLU, st.floats(-0.5, 1.5, width=32)),
    st.builds(SoftThreshold, st.floats(0.0, 1.5, width=32)),
    st.builds(nn.ReLU),
)
SIZES = st.one_of(st.integers(1, 300), st.sampled_from([1, 15, 16, 17, 64, 65, 160, 161, 300]))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_chain(data):
    """Any widths, batches, activations, threads: as dense autograd, to rounding."""
    depth = data.draw(st.integers(1, 4))
    sizes = [data.draw(SIZES) for _ in range(depth + 1)]
    layers: list[nn.Module] = [data.draw(ACTIVATIONS)] if data.draw(st.booleans()) else []
    for fan_in, out in pairwise(sizes):
        layers += [nn.Linear(fan_in, out, bias=data.draw(st.booleans())), data.draw(ACTIVATIONS)]
    layers += [nn.Linear(sizes[-1], 5)]
    model, batch = drawn(*layers), data.draw(st.sampled_from([1, 2, 3, 17, 64, 130]))
    x, weights = 2 * randn(data.draw(st.integers(0, 99)), batch, sizes[0]), randn(3, batch, 5)
    if not near_no_edge(model, x):
        return
    true = gradients(copy.deepcopy(model).double(), x.double(), weights.double())
    dense = gradients(copy.deepcopy(model), x, weights)
    torch.set_num_threads(data.draw(st.integers(1, 4)))
    engine = TrainingEngine(model, instruction_set=data.draw(st.sampled_from(SETS)))
    assert error(gradients(engine, x, weights), true) <= 2 * error(dense, true) + 1e-6


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("shape", [(5, 1100, 70), (3, 4, 1500), (9, 700, 1300)])
def test_wide_layers_come_in_tiles(name, shape):
    batch, width, out = shape
    model = drawn(nn.ReLU(), nn.Linear(width, out), nn.ReLU(), nn.Linear(out, 5))
    x, weights = randn(1, batch, width), randn(2, batch, 5)
    true = gradients(copy.deepcopy(model).double(), x.double(), weights.double())
    found = gradients(TrainingEngine(model, instruction_set=name), x, weights)
    assert error(found, true) < 2e-6


def exact(*layers: nn.Module) -> nn.Sequential:
    """Weights and biases of few bits, so that sums are exact and edges are met exactly."""
    model = nn.Sequential(*layers)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randint(-2, 3, p.shape, generator=generator) / 2)
    return model


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(
    "phi",
    [
        *(CReLU(0.5, 1.0), CReLU(-0.5, 1.0), CST(0.5, 1.0), CST(0.0, 0.5), ShiftedReLU(0.5)),
        *(
            FATReLU(0.5),
            FATReLU(0.0),
            SoftThreshold(0.5),
            nn.ReLU(),
            nn.ReLU6(),
            nn.Hardtanh(0.0, 1.0),
            nn.Softshrink(0.5),
        ),
    ],
    ids=repr,
)
def test_exactly_at_the_threshold_and_at_the_clip(name, phi):
    model = exact(phi, nn.Linear(21, 33), phi, nn.Linear(33, 7))
    x = torch.randint(-4, 5, (19, 21), generator=torch.Generator().manual_seed(1)) / 2
    at_edge = phi(x) == (phi.m if hasattr(phi, "m") and math.isfinite(phi.m) else 0.0)
    assert at_edge.any()
    weights = torch.ones(19, 7)
    found = gradients(TrainingEngine(copy.deepcopy(model), instruction_set=name), x, weights)
    for a, b in zip(found, gradients(model, x, weights), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("bias", [-100.0, 100.0])
def test_no_unit_and_every_unit_active(name, bias):
    model = drawn(nn.Linear(37, 50), nn.ReLU(), nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 7))
    with torch.no_grad():
        model[0].bias.fill_(bias)
        model[2].bias.fill_(bias)
    x, weights = randn(1, 9, 37), randn(2, 9, 7)
    dense = gradients(copy.deepcopy(model).double(), x.double(), weights.double())
    assert error(gradients(TrainingEngine(model, instruction_set=name), x, weights), dense) < 1e-6


def test_an_empty_batch():
    engine = TrainingEngine(dnn())
    out = engine(torch.empty(0, 37))
    out.sum().backward()
    assert out.shape == (0, 7)
    assert all(p.grad is not None and not p.grad.any() for p in engine.parameters())


def same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("skip", [0.0, 0.5])
@pytest.mark.parametrize("point", ["crelu", "cst", "st"])
@pytest.mark.parametrize("where", ["input", "gradient"])
def test_nan_and_infinity_as_dense_has_them(name, skip, point, where):
    options = {} if point == "st" else {"clip": 1.0}
    model = dnn(solve(point, sparsity=0.8, q=1.0, **options), depth=4, width=70, skip=skip)
    x, weights = randn(1, 9, 37), randn(2, 9, 7)
    poisoned = x if where == "input" else weights
    poisoned[1, 3], poisoned[2, 4], poisoned[3, 0] = math.nan, math.inf, -math.inf
    found = gradients(TrainingEngine(copy.deepcopy(model), instruction_set=name), x, weights)
    dense = gradients(model, x, weights)
    assert any(g.isnan().any() for g in dense)
    for a, b in zip(found, dense, strict=True):
        assert same(a, b)


def test_denormals_are_flushed_in_the_kernels_alone():
    model = drawn(nn.ReLU(), nn.Linear(8, 8, bias=False), nn.ReLU(), nn.Linear(8, 8, bias=False))
    with torch.no_grad():
        model[3].weight.fill_(1e-30)
    found = gradients(TrainingEngine(model), randn(1, 3, 8), torch.full((3, 8), 1e-12))
    assert found[1].abs().max() == 0.0
    assert torch.tensor([1e-40]) * 1.0 != 0.0  # here they are not


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("skip", [0.0, 0.5])
def test_the_same_bits_from_the_same_number_of_threads(threads, skip):
    model, x, weights = dnn(skip=skip, width=130), randn(1, 67, 37), randn(2, 67, 7)
    engine, other, seen = TrainingEngine(model), TrainingEngine(dnn(depth=3)), []
    torch.set_num_threads(threads)
    for _ in range(3):
        seen.append([g.clone() for g in gradients(engine, x, weights)])
        other(x).sum().backward()  # leaves the threads' memory in another state
    for others in seen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(seen[0], others, strict=True))


@pytest.mark.parametrize("skip", [0.0, 0.9])
def test_memory_between_forward_and_backward(skip):
    model = dnn(width=300, depth=20, skip=skip)
    x, held = randn(1, 128, 37), {}
    own = {p.data_ptr() for p in model.parameters()}

    def pack(t: Tensor) -> Tensor:
        if t.data_ptr() not in own:
            held[t.data_ptr()] = t.numel() * t.element_size()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        model(x)
    (segment,) = TrainingEngine(model).segments
    _, tape = segment.forward(model.layers[0](x), keep=True)
    assert tape.bytes > 128 * 300 * 20 * 0.05 * 6
    assert tape.bytes < sum(held.values()) / 5


def test_names_values_and_files_are_the_models():
    model = dnn()
    before = copy.deepcopy(model.state_dict())
    engine = accelerate(model, randn(1, 3, 37), train=True)
    assert isinstance(engine, TrainingEngine)
    assert [n for n, _ in engine.named_parameters()] == [n for n, _ in model.named_parameters()]
    assert all(a is b for a, b in zip(engine.parameters(), model.parameters(), strict=True))
    for state in (engine.state_dict(), model.state_dict()):
        assert list(state) == list(before)
        assert all(torch.equal(state[name], before[name]) for name in before)
    save({name: value.contiguous() for name, value in engine.state_dict().items()})
    file = io.BytesIO()
    torch.save(engine.state_dict(), file)
    file.seek(0)
    other = dnn(ONE_SIDED)
    with torch.no_grad():
        other.layers[1].weight.zero_()
    fresh = TrainingEngine(other)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(fresh(randn(1, 3, 37)), engine(randn(1, 3, 37)))
    assert other.layers[1].weight.stride() == (1, 99)


def test_copies_train_by_themselves():
    engine, x, weights = TrainingEngine(dnn()), randn(1, 5, 37), randn(2, 5, 7)
    found = gradients(engine, x, weights)
    for twin in (copy.deepcopy(engine), pickle.loads(pickle.dumps(engine))):
        twin.zero_grad()
        assert all(
            torch.equal(a, b) for a, b in zip(gradients(twin, x, weights), found, strict=True)
        )
        assert not {p.data_ptr() for p in twin.parameters()} & {
            p.data_ptr() for p in engine.parameters()
        }
        with torch.no_grad():
            twin.layers[1].weight.zero_()
        assert not torch.equal(twin(x), engine(x))


def test_changes_of_the_parameters_are_seen():
    model, x = dnn(), randn(1, 5, 37)
    engine = TrainingEngine(model)
    with torch.no_grad():
        model.layers[2].weight.mul_(1.5)
    assert torch.allclose(engine(x), model(x), atol=1e-5)
    model.load_state_dict(copy.deepcopy(dnn(skip=0.0).state_dict()), assign=True)
    assert model.layers[1].weight.is_contiguous()
    assert torch.allclose(engine(x), model(x), atol=1e-5)
    assert not model.layers[1].weight.is_contiguous()
    model.layers[1].weight = nn.Parameter(torch.zeros(5, 5))
    with pytest.raises(InvalidInput, match=r"layers\.1: a parameter of \[5, 5\]"):
        engine(x)
    with pytest.raises(InvalidInput, match="float64"):
        TrainingEngine(dnn()).double()(x.double())


def test_weights_changed_before_backward():
    engine = TrainingEngine(dnn())
    out = engine(randn(1, 5, 37))
    with torch.no_grad():
        engine.layers[2].weight.mul_(2.0)
    with pytest.raises(InvalidInput, match="weights have changed"):
        out.sum().backward()


def test_gradients_accumulate_and_graphs_are_kept():
    engine, x, weights = TrainingEngine(dnn()), randn(1, 5, 37), randn(2, 5, 7)
    once = [g.clone() for g in gradients(engine, x, weights)[2:]]
    loss = (engine(x) * weights).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    for p, g in zip(engine.parameters(), once, strict=True):
        assert torch.allclose(p.grad, 3 * g, rtol=1e-5, atol=1e-6)
        assert p.grad.stride() == p.stride()


def as_dense_with_frozen(model, frozen, x):
    """The gradients of a model, some of whose layers are frozen, against dense autograd."""
    for name in frozen:
        model.get_submodule(name).requires_grad_(False)
    weights = randn(2, 5, 7)
    (TrainingEngine(model)(x) * weights).sum().backward()
    found = {n: p.grad for n, p in model.named_parameters()}
    model.zero_grad()
    (model(x) * weights).sum().backward()
    for name, p in model.named_parameters():
        assert (p.grad is None) == (found[name] is None)
        assert p.grad is None or torch.allclose(found[name], p.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frozen", [["layers.2"], ["layers.0", "layers.1"], ["layers.4", "head"]])
def test_frozen_layers(frozen):
    as_dense_with_frozen(dnn(skip=0.5), frozen, randn(1, 5, 37))


def test_other_layers_run_as_they_are():
    layers = [nn.Linear(37, 50), nn.ReLU(), nn.Linear(50, 60), nn.Tanh(), nn.Linear(60, 40)]
    layers += [CReLU(0.1, 1.0), nn.Dropout(0.5), nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 7)]
    model, x, weights = drawn(*layers), randn(1, 9, 37), randn(2, 9, 7)
    with pytest.warns(UserWarning, match="3 runs dense: Tanh"):
        engine = accelerate(model, x, train=True)
    assert len(engine.segments) == 2
    assert not torch.equal(engine(x), engine(x))  # dropout acts
    engine.eval()
    assert torch.equal(engine(x), engine(x))
    dense = gradients(copy.deepcopy(model).eval(), x, weights)
    assert error(gradients(engine, x, weights), [g.double() for g in dense]) < 1e-5


def test_one_layer_used_twice():
    model, x, weights = shared_layer(), randn(1, 9, 37), randn(2, 9, 7)
    dense = gradients(copy.deepcopy(model), x, weights)
    found = gradients(TrainingEngine(model), x, weights)
    assert error(found, [g.double() for g in dense]) < 1e-5


def test_without_gradients():
    engine = TrainingEngine(dnn())
    with torch.no_grad():
        assert not engine(randn(1, 5, 37)).requires_grad
    with torch.inference_mode():
        assert engine(randn(1, 5, 37)).isfinite().all()


def test_what_is_refused():
    x = randn(1, 5, 37)
    with pytest.raises(InvalidInput, match="no layer that reads a sparse activation"):
        accelerate(nn.Sequential(nn.Linear(37, 7)), x, train=True)
    with pytest.raises(InvalidInput, match="takes neither"):
        accelerate(dnn(), x, storage="int8", train=True)
    engine = TrainingEngine(dnn())
    with pytest.raises(InvalidInput, match="autocast"), torch.autocast("cpu"):
        engine(x)
    x.requires_grad_()
    (g,) = torch.autograd.grad(engine(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        g.sum().backward()


def test_a_network_learns_the_same():
    """200 steps: both fall alike, until rounding has grown."""
    curves = []
    for wrap in (TrainingEngine, lambda model: model):
        model = wrap(dnn(skip=0.9, width=60))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
        x, y = randn(1, 256, 37), torch.arange(256) % 7
        losses = []
        for step in range(200):
            chosen = slice(64 * (step % 4), 64 * (step % 4) + 64)
            loss = F.cross_entropy(model(x[chosen]), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        curves.append(torch.tensor(losses))
    ours, dense = curves
    assert torch.allclose(ours[:20], dense[:20], rtol=1e-3)
    assert dense[-20:].mean() < 0.8 * dense[:4].mean()
    assert abs(ours[-20:].mean() - dense[-20:].mean()) < 0.1 * dense[:4].mean()
