"""A watch over models as people write them: what wraps, fuses, recomputes or copies their calls."""

import contextlib
import copy
import io

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from sparsefield.errors import InvalidInput
from sparsefield.nn import CReLU, cst
from sparsefield.watch import Watch, activation_modules, begins

quiet = pytest.mark.filterwarnings(
    "ignore:.*torch.jit.*:DeprecationWarning", "ignore:The .grad attribute:UserWarning"
)
PLAIN = nn.Module._call_impl, nn.Module.__call__


def as_torch_has_it():
    fused = torch.backends.mha.get_fastpath_enabled()
    return (nn.Module._call_impl, nn.Module.__call__) == PLAIN and fused


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), CReLU(0.1, 1.0), nn.Linear(5, 4), nn.ReLU())


def x(*shape):
    return torch.randn(*(shape or (3, 6)), generator=torch.Generator().manual_seed(1))


def watch(model):
    return Watch(model, activation_modules(model))


class Seen:
    """Outputs, inputs and gradients by the place of their call."""

    def __init__(self):
        self.outputs, self.read, self.gradients, self.units = {}, {}, {}, {}

    def inside(self, model):
        return watch(model).passes(self.see, before=self.before, gradient=self.gradient)

    def see(self, call):
        self.outputs[str(call.place)] = call.output.detach().clone()
        self.units[str(call.place)] = call.units % call.output.dim()

    def before(self, place, h):
        assert str(place) not in self.read
        self.read[str(place)] = h.detach().clone()

    def gradient(self, place, value):
        assert str(place) not in self.gradients
        self.gradients[str(place)] = value.detach().clone()


def same(one, other):
    for name in ("outputs", "read", "gradients"):
        found, wanted = getattr(one, name), getattr(other, name)
        assert list(found) == list(wanted) or name == "gradients"
        assert found.keys() == wanted.keys()
        for place, value in wanted.items():
            torch.testing.assert_close(found[place], value)


def seen(model, run):
    found = Seen()
    with found.inside(model) as passes:
        run()
    assert as_torch_has_it()
    return found, passes


class Pair(nn.Module):
    """Reads and gives more than a tensor."""

    is_activation = True

    def forward(self, given, scale=1.0):
        h, rest = given["h"]
        return {"twice": (2.0 * h.relu(), rest), "scale": scale}


class Tuples(nn.Module):
    def __init__(self):
        super().__init__()
        self.phi = Pair()

    def forward(self, h):
        return self.phi({"h": (h, "rest")}, scale=3.0)


def test_tuples_and_dicts_among_arguments_and_outputs():
    model = Tuples()
    found, passes = seen(model, lambda: model(x()))
    assert torch.equal(found.read["phi"], x())
    assert torch.equal(found.outputs["phi"], 2.0 * x().relu())
    assert passes.missing == ()


def test_a_tensor_in_a_tuple_is_replaced_and_nothing_beside_it():
    model = Tuples()
    with watch(model).passes(lambda call: -call.output):
        given = model(x())
    assert torch.equal(given["twice"][0], -2.0 * x().relu())
    assert (given["twice"][1], given["scale"]) == ("rest", 3.0)


class Checkpointed(nn.Module):
    """An activation that two parts share, each of them recomputed."""

    def __init__(self, how):
        super().__init__()
        torch.manual_seed(0)
        self.how, self.phi = how, CReLU(0.1, 1.0)
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(4))

    def part(self, h, k):
        return self.phi(self.layers[k + 1](self.phi(self.layers[k](h))))

    def forward(self, h):
        for k in (0, 2):
            if self.how is None:
                h = self.part(h, k)
            else:
                h = checkpoint(self.part, h, k, use_reentrant=self.how)
        return h


@pytest.mark.parametrize("how", [True, False], ids=["reentrant", "not reentrant"])
def test_what_a_checkpoint_computes_anew_is_no_other_call(how):
    found = []
    for model in (Checkpointed(how), Checkpointed(None)):
        h = x().requires_grad_()
        seen_now, passes = seen(model, lambda m=model, h=h: m(h).sum().backward())
        assert passes.laps == 1
        found.append(seen_now)
    assert list(found[1].outputs) == ["phi", "phi#2", "phi#3", "phi#4"]
    assert len(found[1].gradients) == 4
    same(*found)


@pytest.mark.parametrize("how", [True, False], ids=["reentrant", "not reentrant"])
def test_a_model_that_is_recomputed_as_a_whole_makes_one_pass(how):
    model = network()
    h = x().requires_grad_()
    found, passes = seen(model, lambda: checkpoint(model, h, use_reentrant=how).sum().backward())
    assert (passes.laps, list(found.outputs)) == (1, ["1", "3"])
    plain, _ = seen(model, lambda: model(x()).sum().backward())
    same(found, plain)


@quiet
@pytest.mark.parametrize("way", ["whole", "in place", "a part", "a layer"])
@pytest.mark.parametrize("before", [True, False], ids=["has run", "has not run"])
def test_what_is_compiled_is_seen(way, before):
    torch._dynamo.reset()
    model, plain, graphs = network(), network(), []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    if way == "whole":
        model = torch.compile(model, backend=backend)
    elif way == "in place":
        model.compile(backend=backend)
    else:
        part = 1 if way == "a part" else 0
        model[part] = torch.compile(model[part], backend=backend)
    if before:
        model(x()).sum().backward()
    compiled = len(graphs)
    found, passes = seen(model, lambda: model(x()).sum().backward())
    assert passes.missing == ()
    assert passes.laps == 1
    same(found, seen(plain, lambda: plain(x()).sum().backward())[0])
    assert len(graphs) == compiled
    model(x()).sum().backward()
    assert len(graphs) >= 1  # afterwards it runs compiled, and nothing sees it
    assert len(found.outputs) == 2


@quiet
def test_the_model_inside_a_compiled_one_makes_a_pass_when_either_is_called():
    torch._dynamo.reset()
    model = network()
    fast = torch.compile(model, backend="eager")
    for watched in (model, fast):
        for called in (model, fast):
            _, passes = seen(watched, lambda called=called: called(x()))
            assert passes.laps == 1
            assert passes.missing == ()


def test_per_sample_gradients_are_told_as_a_batch():
    model = network()
    parameters = dict(model.named_parameters())

    def loss(given, row):
        return torch.func.functional_call(model, given, (row,)).square().sum()

    per_sample = torch.func.vmap(torch.func.grad(loss), (None, 0))
    found, passes = seen(model, lambda: per_sample(parameters, x()))
    plain, _ = seen(model, lambda: model(x()).square().sum().backward())
    same(found, plain)
    assert found.units == plain.units
    assert passes.missing == ()
    want = per_sample(parameters, x())  # nothing that was seen changes what is computed
    with Seen().inside(model):
        got = per_sample(parameters, x())
    for name, value in want.items():
        assert torch.equal(got[name], value)


def test_axes_that_are_mapped_over_come_in_front():
    model = nn.Sequential(nn.ReLU())
    given = x(2, 3, 4, 5)
    nested = torch.func.vmap(torch.func.vmap(model, in_dims=1), in_dims=2)
    found, _ = seen(model, lambda: nested(given))
    # axis 2 is mapped first; of what is left, [2, 3, 5], axis 1 is
    assert torch.equal(found.read["0"], given.permute(2, 1, 0, 3))


def test_nothing_is_replaced_inside_a_transform():
    model = network()
    with (
        watch(model).passes(lambda call: call.output),
        pytest.raises(InvalidInput, match="1: runs inside a transform of torch.func"),
    ):
        torch.func.vmap(model)(x())
    assert as_torch_has_it()


def test_a_copy_and_a_pickle_made_inside_the_block_hold_nothing_of_it():
    model, file = network(), io.BytesIO()
    found = Seen()
    with found.inside(model):
        model(x())
        others = [copy.deepcopy(model)]
        torch.save(model, file)
        file.seek(0)
        others.append(torch.load(file, weights_only=False))
        for other in others:
            assert torch.equal(other(x()), model[3](model[2](model[1](model[0](x())))))
            found.read.clear()
    assert b"watch" not in file.getvalue()
    for other in others:
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in other.modules())


@pytest.mark.parametrize("fused", [True, False])
def test_fused_layers_are_taken_apart(fused):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=nn.ReLU(), batch_first=True).eval()
    torch.backends.mha.set_fastpath_enabled(fused)
    try:
        with torch.no_grad(), Seen().inside(layer) as passes:
            layer(x(2, 3, 8))
        assert torch.backends.mha.get_fastpath_enabled() is fused
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    assert passes.missing == ()


def test_blocks_may_end_in_any_order():
    model, calls = network(), []
    first, second = contextlib.ExitStack(), contextlib.ExitStack()
    first.enter_context(watch(model).passes(lambda call: calls.append(("first", call.place.name))))
    second.enter_context(watch(model).passes(lambda call: calls.append(("second", "")) or None))
    first.close()
    model(x())
    assert calls == [("second", "")] * 2
    second.close()
    assert as_torch_has_it()


def test_a_model_run_part_by_part_says_when_it_begins():
    model, laps = network(), []
    with watch(model).passes(lambda call: laps.append(call.place.lap)):
        for _ in range(2):
            begins(model)
            begins(nn.ReLU())  # another model
            model[1](x(2, 5))
    assert laps == [1, 2]


def test_what_was_not_seen_is_said_once():
    model = network()
    model.forward = lambda h: model[1](model[0](h))
    looking = watch(model)
    with looking.passes(lambda _: None) as passes:
        model(x())
    with pytest.warns(UserWarning, match="1 of 2 .*: 3;"):
        passes.warn()
    with looking.passes(lambda _: None) as passes:
        model(x())
    passes.warn()  # warnings are errors
    assert passes.missing == ("3",)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a second device")
def test_layers_on_several_devices():
    from sparsefield.monitor import Monitor

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = network(), nn.Sequential(nn.Linear(4, 4), nn.ReLU()).cuda()

        def forward(self, h):
            return self.b(self.a(h).cuda())

    model = Two()
    monitor = Monitor(model)
    with monitor.at(0):
        model(x()).sum().backward()
    assert [row["name"] for row in monitor.rows] == ["a.1", "a.3", "b.1"]


FUNCTIONS = {
    "relu": lambda h: F.relu(h, inplace=True),
    "threshold": lambda h: F.threshold(h, 0.5, 0.0),
    "clamp": lambda h: (h - 1.0).clamp(min=0),
    "softshrink": lambda h: cst(h, 1.0, 2.0),
}


@pytest.mark.parametrize(("name", "function"), FUNCTIONS.items(), ids=FUNCTIONS)
def test_activations_that_are_functions_are_named_once(name, function):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = network()
            self.part.forward = lambda h: function(nn.Sequential.forward(self.part, h))

        def forward(self, h):
            return self.part(h).clamp(min=0.25)

    model = Mixed()
    looking = watch(model)
    with looking.passes(lambda _: None, functions=True) as passes:
        model(x())
        function(x())  # none of the model
    assert list(passes.functions) == [("part", name)]
    with pytest.warns(UserWarning, match=f"^1 activations beside 2 .* not seen: {name} in part;"):
        passes.warn()
    passes.warn()  # once
    with watch(network()).passes(lambda _: None, functions=True) as passes:
        network()(x())
    assert passes.functions == {}


@quiet
def test_a_block_inside_a_function_that_is_compiled():
    torch._dynamo.reset()
    model, calls = network(), []

    @torch.compile(backend="eager")
    def step(h):
        with watch(model).passes(lambda call: calls.append(str(call.place))):
            return model(h)

    for _ in range(2):
        step(x())
        assert as_torch_has_it()
    assert calls == ["1", "3"] * 2
