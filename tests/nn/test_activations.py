"""The activations against plain formulas, through every transform that torch offers."""

import copy
import io
import math
import pickle
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from sparsefield.errors import InvalidInput
from sparsefield.nn import CST, CReLU, ShiftedReLU, SoftThreshold, activation
from sparsefield.theory import solve

TAU, M = 0.8, 0.7
MODULES = {
    "crelu": CReLU(TAU, M),
    "crelu, negative tau": CReLU(-0.3, M),
    "cst": CST(TAU, M),
    "shifted relu": ShiftedReLU(TAU),
    "soft threshold": SoftThreshold(TAU),
}
every = pytest.mark.parametrize("act", MODULES.values(), ids=MODULES)


def reference(act, x):
    """The definition in plain differentiable operators."""
    if act.two_sided:
        return x.sign() * (x.abs() - act.tau).clamp(0.0, act.m)
    return (x - act.tau).clamp(0.0, act.m)


def sample(*shape, dtype=torch.float64, seed=0):
    return 2.0 * torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def derivatives(f, x):
    """y, dL/dx and d(sum dL/dx)/dx for L = sum y^3."""
    x = x.clone().requires_grad_()
    y = f(x)
    (first,) = torch.autograd.grad((y**3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    return y.detach(), first.detach(), second


@every
@pytest.mark.parametrize("shape", [(1,), (7, 13), (3, 5, 2, 2), (0, 4)])
def test_value_gradient_and_double_backward(act, shape):
    got, want = (
        derivatives(act, sample(*shape)),
        derivatives(lambda x: reference(act, x), sample(*shape)),
    )
    for g, w in zip(got, want, strict=True):
        torch.testing.assert_close(g, w, rtol=1e-12, atol=1e-12)


@every
def test_numerical_gradient(act):
    x = sample(40)
    kinks = torch.tensor([act.tau, act.tau + act.m, -act.tau, -act.tau - act.m])
    x = x[(x[:, None] - kinks).abs().amin(1) > 1e-3].requires_grad_()
    assert torch.autograd.gradcheck(act, (x,))
    assert torch.autograd.gradgradcheck(act, (x,))


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_dtype_is_kept_and_zeros_are_exact(act, dtype):
    x = sample(1000).to(dtype)
    y = act(x)
    assert y.dtype == dtype
    off = x.double().abs() <= act.tau if act.two_sided else x - act.tau <= 0
    assert torch.equal(y == 0, off)
    assert y.abs().max() <= torch.tensor(act.m, dtype=dtype)


@every
def test_non_contiguous_input(act):
    x = sample(6, 8).t()[::2]
    torch.testing.assert_close(act(x), reference(act, x))


@every
def test_nan_and_infinity_are_treated_as_dense_torch_does(act):
    x = torch.tensor([math.nan, math.inf, -math.inf])
    y = act(x)
    assert y[0].isnan()
    assert y[1] == act.m
    assert y[2] == (-act.m if act.two_sided else 0.0)


@every
def test_vmap_and_per_sample_gradients(act):
    x = sample(5, 11)
    torch.testing.assert_close(torch.func.vmap(act)(x), act(x))
    loss = lambda row: (act(row) ** 3).sum()  # noqa: E731
    got = torch.func.vmap(torch.func.grad(loss))(x)
    torch.testing.assert_close(got, derivatives(act, x)[1])


@every
def test_export(act):
    x = sample(3, 4)
    exported = torch.export.export(act, (x,)).module()
    torch.testing.assert_close(exported(x), act(x))


@pytest.mark.skipif(shutil.which("g++") is None, reason="the compiler backend needs g++")
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("name", ["crelu", "cst", "shifted relu", "soft threshold"])
def test_compile_fullgraph_forward_and_backward(name):
    act = MODULES[name]
    compiled = torch.compile(act, fullgraph=True)
    got, want = [], []
    for f, results in ((compiled, got), (act, want)):
        x = sample(33, 9, dtype=torch.float32).requires_grad_()
        y = f(x)
        (y**3).sum().backward()
        results += [y.detach(), x.grad]
    for g, w in zip(got, want, strict=True):
        torch.testing.assert_close(g, w)


@every
def test_autocast_keeps_bfloat16_through_the_layer(act):
    model = nn.Sequential(nn.Linear(7, 5), act, nn.Linear(5, 3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = model(sample(4, 7, dtype=torch.float32))
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert model[0].weight.grad is not None


def saved_storages(f, x):
    """Storages that backward keeps, the input's aside."""
    kept = set()

    def pack(t):
        kept.add(t.untyped_storage().data_ptr())
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = f(x)
    return kept, y


@every
def test_the_activation_adds_no_saved_memory(act):
    first, second = nn.Linear(7, 5), nn.Linear(5, 3)
    x = sample(4, 7, dtype=torch.float32)
    kept, _ = saved_storages(lambda x: second(act(first(x))), x)
    alone, _ = saved_storages(lambda x: second(first(x)), x)  # keeps second's input already
    assert len(kept) == len(alone)


def test_hardtanh_as_the_twin_does_add_memory():
    first, second = nn.Linear(7, 5), nn.Linear(5, 3)
    x = sample(4, 7, dtype=torch.float32)
    plain = lambda h: nn.functional.hardtanh(h - TAU, 0.0, M)  # noqa: E731
    kept, _ = saved_storages(lambda x: second(plain(first(x))), x)
    alone, _ = saved_storages(lambda x: second(first(x)), x)
    assert len(kept) > len(alone)


@every
def test_state_dict_keeps_the_constants(act, tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), act)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    other = nn.Sequential(nn.Linear(3, 3), type(act)(*[9.0] * len(act._kept)))
    other.load_state_dict(state)
    assert (other[1].tau, other[1].m) == (act.tau, act.m)
    assert other.to(torch.bfloat16)[1].tau == act.tau
    state.pop("1.tau")
    with pytest.raises(RuntimeError, match="1.tau"):
        other.load_state_dict(state)


def test_state_dict_of_another_activation_does_not_fit():
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "m"'):
        CReLU(1.0, 1.0).load_state_dict(ShiftedReLU(1.0).state_dict())
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "m"'):
        ShiftedReLU(1.0).load_state_dict(CReLU(1.0, 1.0).state_dict())
    with pytest.raises(RuntimeError, match="tau -1.0: must be"):
        CST(1.0, 1.0).load_state_dict(CReLU(-1.0, 1.0).state_dict())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("m", [0.1, 0.7, 0.8, 1.3, 2.2])
@pytest.mark.parametrize("kind", [CReLU, CST])
def test_no_gradient_passes_the_clip_in_any_precision(kind, m, dtype):
    x = torch.tensor([50.0, 7.0, -50.0], dtype=dtype, requires_grad=True)
    kind(0.3, m)(x).sum().backward()
    assert not x.grad.any()
    inside = torch.tensor([0.3 + m / 2], dtype=dtype, requires_grad=True)
    kind(0.3, m)(inside).sum().backward()
    assert inside.grad.item() == 1.0


@every
def test_eager_and_traced_agree_at_the_kinks(act):
    tau, m = act.tau, min(act.m, 1.0)
    x = torch.tensor([tau, tau + m, -tau, -tau - m, tau + m / 2], dtype=torch.float64)
    loss = lambda x: act(x).sum()  # noqa: E731
    eager = x.clone().requires_grad_()
    loss(eager).backward()
    torch.testing.assert_close(torch.func.grad(loss)(x), eager.grad)


@every
def test_modules_copy_and_pickle(act):
    for copied in (copy.deepcopy(act), pickle.loads(pickle.dumps(act))):
        assert (type(copied), copied.tau, copied.m) == (type(act), act.tau, act.m)


@pytest.mark.parametrize("family", ["crelu", "cst", "relu", "st"])
def test_module_of_a_point_equals_theorys_activation(family):
    clip = {"clip": 1.1} if family in ("crelu", "cst") else {}
    point = solve(family, sparsity=0.9, q=3.0, **clip)
    x = np.linspace(-9, 9, 301)
    np.testing.assert_allclose(activation(point)(torch.from_numpy(x)), point.phi(x), atol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CReLU(math.nan, 1.0),
        lambda: CReLU(1.0, 0.0),
        lambda: CST(-0.1, 1.0),
        lambda: SoftThreshold(-1.0),
        lambda: CReLU(1.0, math.nan),
    ],
)
def test_bad_constants_are_refused(make):
    with pytest.raises(InvalidInput, match="must be"):
        make()
