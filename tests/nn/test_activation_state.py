"""The activations' constants as state, and the ways of torch that look into their graph."""

import copy
import io
import math
import pickle

import pytest
import torch
import torch.autograd.forward_ad as forward
from safetensors.torch import load_file, save_file
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from sparsefield.engine.phi import phi_of
from sparsefield.errors import InvalidInput
from sparsefield.nn import CST, CReLU, ShiftedReLU, SoftThreshold, TopK

TAU, M = 0.8, 0.7
MAKE = {
    "crelu": lambda tau=TAU: CReLU(tau, M),
    "cst": lambda tau=TAU: CST(tau, M),
    "shifted relu": lambda tau=TAU: ShiftedReLU(tau),
    "soft threshold": lambda tau=TAU: SoftThreshold(tau),
}
every = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


def sample(*shape, dtype=torch.float32, seed=0):
    return 2.0 * torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def network(act):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), act, nn.Linear(7, 3))


def slope(act, x):
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(act(x).sum(), x)
    return found


def edges(act):
    ends = (act.tau, act.tau + min(act.m, 1.0))
    return torch.tensor([*ends, *(-end for end in ends), act.tau + 0.3, 0.0])


@every
def test_forward_mode_gives_the_slope_of_reverse_mode(make):
    act = make()
    x = torch.cat([sample(40), edges(act)])
    with forward.dual_level():
        dual = act(forward.make_dual(x, torch.full_like(x, 3.0)))
        value, tangent = forward.unpack_dual(dual)
    assert torch.equal(value, act(x))
    assert torch.equal(tangent, 3.0 * slope(act, x))
    wide = torch.autograd.functional.jacobian(act, x, vectorize=True, strategy="forward-mode")
    assert torch.equal(wide, slope(act, x).diag())


def test_forward_mode_of_top_k():
    x = sample(3, 8)
    with forward.dual_level():
        dual = TopK(0.5)(forward.make_dual(x, torch.ones_like(x)))
        tangent = forward.unpack_dual(dual).tangent
    assert torch.equal(tangent, slope(TopK(0.5), x))


@every
def test_forward_over_reverse(make):
    act, x = make(), sample(11, dtype=torch.float64)
    cubed = lambda x: (act(x) ** 3).sum()  # noqa: E731
    leaf = x.clone().requires_grad_()
    with forward.dual_level():
        dual = forward.make_dual(leaf, torch.ones_like(x))
        (first,) = torch.autograd.grad(cubed(dual), leaf)
        tangent = forward.unpack_dual(first).tangent
    torch.testing.assert_close(tangent, torch.func.hessian(cubed)(x).sum(1))


@every
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad])
def test_a_trace_is_saved_and_loaded(make, mode):
    model, file = network(make()), io.BytesIO()
    with mode():
        torch.jit.save(torch.jit.trace(model, sample(2, 5)), file)
    file.seek(0)
    loaded, x = torch.jit.load(file), sample(9, 5, seed=1)
    assert torch.equal(loaded(x), model(x))
    wanted, found = (torch.autograd.grad(m(x).sum(), m[0].weight) for m in (model, as_list(loaded)))
    torch.testing.assert_close(found, wanted)


def as_list(loaded):
    """A loaded trace has its layers by name alone."""

    class Parts:
        def __call__(self, x):
            return loaded(x)

        def __getitem__(self, index):
            return getattr(loaded, str(index))

    return Parts()


@every
def test_symbolic_trace(make):
    model, x = network(make()), sample(9, 5)
    assert torch.equal(torch.fx.symbolic_trace(model)(x), model(x))


@every
def test_functional_call_with_a_state_dict(make):
    net, other, x = network(make()), network(make(0.3)), sample(9, 5)
    with torch.no_grad():
        other[0].weight.mul_(2.0)
    own, others, before = net.state_dict(), other.state_dict(), net(x)
    assert torch.equal(functional_call(net, own, (x,)), before)
    assert torch.equal(functional_call(net, others, (x,)), other(x))
    assert not torch.equal(other(x), before)
    assert torch.equal(net(x), before)
    assert (net[1].tau, other[1].tau) == (TAU, 0.3)
    own["1.tau"].copy_(others["1.tau"])  # still the entry that it was
    assert net[1].tau == 0.3


def test_functional_call_puts_everything_back_after_an_error():
    net, other = network(CReLU(TAU, M)), network(CReLU(0.3, M))
    with pytest.raises(RuntimeError):
        functional_call(net, other.state_dict(), (sample(9, 4),))
    assert net[1].tau == TAU


@every
def test_per_sample_gradients_over_a_state_dict(make):
    net, x = network(make()), sample(9, 5)
    held = {name: value.detach() for name, value in net.state_dict().items()}
    weights = {name: value for name, value in held.items() if "weight" in name}
    loss = lambda w, row: functional_call(net, {**held, **w}, (row,)).sum()  # noqa: E731
    found = vmap(grad(loss), (None, 0))(weights, x)
    (wanted,) = torch.autograd.grad(net(x).sum(), net[0].weight)
    torch.testing.assert_close(found["0.weight"].sum(0), wanted)


@every
def test_what_is_copied_into_entries_takes_effect(make):
    net, source, x = network(make()), network(make(0.3)), sample(9, 5)
    for name, value in source.state_dict().items():
        net.state_dict()[name].copy_(value)
    assert torch.equal(net(x), source(x))
    assert net[1].constants == source[1].constants
    assert phi_of(net[1]) == phi_of(source[1])
    held = net.state_dict()
    held["1.tau"].fill_(1.25)
    assert (net[1].tau, repr(net[1])) == (1.25, repr(make(1.25)))
    assert copy.deepcopy(net)[1].tau == 1.25
    assert net.state_dict()["1.tau"] == 1.25
    net[1].tau = 0.5  # and the other way
    assert held["1.tau"] == 0.5
    net.load_state_dict(source.state_dict())
    assert held["1.tau"] == 0.3


def test_what_is_copied_into_a_share_takes_effect():
    act, x = TopK(0.5), sample(3, 8)
    act.state_dict()["sparsity"].fill_(0.75)
    assert torch.equal(act(x), TopK(0.75)(x))
    assert math.isnan(act.tau)


def test_no_constant_is_refused_where_it_is_used():
    act = CST(TAU, M)
    act.state_dict()["tau"].fill_(-1.0)
    with pytest.raises(InvalidInput, match=r"tau -1\.0: must be"):
        act(sample(3))
    act.state_dict()["tau"].fill_(1.0)
    assert act(torch.tensor(1.5)) == 0.5


@every
def test_constants_are_nobodys_buffers(make):
    net = network(make())
    assert list(net.buffers()) == []
    assert [name for name, _ in net.named_buffers()] == []
    exact = dict(net[1].constants)
    for moved in (net.to(torch.bfloat16), net.half(), net.to("meta"), net.to_empty(device="cpu")):
        assert moved[1].constants == exact
        for name in exact:
            entry = moved.state_dict()[f"1.{name}"]
            assert (entry.dtype, entry.device.type) == (torch.float64, "cpu")
    with torch.device("meta"):
        assert make().constants == exact
    parameters, buffers = stack_module_state([network(make()) for _ in range(3)])
    x = sample(3, 9, 5)
    wanted = network(make())
    stacked = vmap(lambda p, x: functional_call(wanted, (p, buffers), (x,)))(parameters, x)
    torch.testing.assert_close(stacked, wanted(x))


@every
def test_entries_share_no_memory_with_one_another(make, tmp_path):
    net = network(make())
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    other = network(make(0.1))
    other.load_state_dict(load_file(tmp_path / "net.safetensors"))
    assert other[1].constants == net[1].constants


@every
def test_state_dicts_and_pickles_made_before(make):
    """Entries were float64 scalars of their own; the module held plain floats."""
    act = make()
    before = {name: torch.tensor(0.1 + 0.2, dtype=torch.float64) for name in act.constants}
    act.load_state_dict(before)
    assert set(act.constants.values()) == {0.1 + 0.2}
    state = act.__getstate__()
    assert {name: state[name] for name in act.constants} == act.constants
    assert (state["_buffers"], state["m"]) == ({}, act.m)
    other = pickle.loads(pickle.dumps(act))
    assert other.constants == act.constants
    for twin in (other, copy.copy(act), copy.deepcopy(act)):
        twin.tau = 9.0
        assert act.tau == 0.1 + 0.2
    assert b"Constants" not in pickle.dumps(act)


def floats_of(program):
    """Numbers that stand in a graph as they are, and the tensors that it takes."""
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    given = [arg for node in nodes for arg in node.args if isinstance(arg, float)]
    return given, [node for node in program.graph.nodes if node.op in ("placeholder", "get_attr")]


@every
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.filterwarnings("ignore:.*treespec:FutureWarning")
def test_an_exported_graph_has_plain_floats(make, strict):
    act = make()
    act.state_dict()["tau"].fill_(0.3)
    program = torch.export.export(act, (sample(3, 4),), strict=strict)
    given, tensors = floats_of(program)
    assert 0.3 in given
    assert len(tensors) == 1
    assert torch.equal(program.module()(sample(3, 4)), make(0.3)(sample(3, 4)))


@every
def test_compiled_code_takes_what_was_copied(make):
    torch._dynamo.reset()
    act, x = make(), sample(9)
    held = act.state_dict()
    held["tau"].fill_(0.3)
    fast = torch.compile(act, fullgraph=True, backend="eager")
    assert torch.equal(fast(x), make(0.3)(x))
    held["tau"].fill_(0.5)
    assert act.tau == 0.5  # looked at
    assert torch.equal(fast(x), make(0.5)(x))
    act.tau = 0.2
    assert torch.equal(fast(x), make(0.2)(x))


@every
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.uint8])
def test_integers_are_read_as_floats(make, dtype):
    whole = torch.arange(5 if dtype == torch.uint8 else -5, 9).to(dtype)
    y = make()(whole)
    assert y.dtype == torch.get_default_dtype()
    assert torch.equal(y, make()(whole.float()))
    assert torch.equal(vmap(make())(whole), y)


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_the_same_in_every_mode(make, dtype):
    x = sample(200).to(dtype)
    y = make()(x)
    assert y.dtype == dtype
    assert torch.equal(vmap(make())(x), y)
    with forward.dual_level():
        assert torch.equal(forward.unpack_dual(make()(forward.make_dual(x, x))).primal, y)


class Dtypes(TorchDispatchMode):
    """Every type of floating point that an operator reads or gives."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        y = func(*args, **(kwargs or {}))
        leaves = torch.utils._pytree.tree_leaves((args, kwargs, y))
        self.found |= {leaf.dtype for leaf in leaves if isinstance(leaf, torch.Tensor)}
        return y


@every
def test_no_float64_goes_where_a_device_has_none(make):
    net, x = network(make()), sample(9, 5)
    own = net.state_dict()
    own["1.tau"].copy_(0.25)
    with Dtypes() as dtypes:
        net(x).sum().backward()
        vmap(grad(lambda row: net(row).sum()))(x)
    assert dtypes.found == {torch.float32}
    with Dtypes() as dtypes:  # the twin
        net.double()(x.double())
    assert torch.float64 in dtypes.found
