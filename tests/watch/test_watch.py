"""What a watch sees of a pass, what it changes if asked to, and that it leaves nothing behind."""

import copy
import io
import warnings

import pytest
import torch
from torch import nn

from sparsefield.errors import InvalidInput
from sparsefield.nn import CReLU
from sparsefield.watch import Place, Watch, activation_modules, is_activation, modules_of


class Odd(nn.Module):
    """Modules called out of the order of registration, one of them twice, one never."""

    def __init__(self):
        super().__init__()
        self.last, self.first, self.unused = nn.ReLU(), nn.ReLU(), nn.ReLU()
        self.layer = nn.Linear(6, 6)

    def forward(self, x):
        return self.last(self.layer(self.first(self.layer(self.first(x)))))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), CReLU(0.1, 1.0), nn.Linear(5, 4), nn.ReLU())


def x():
    return torch.randn(3, 6, generator=torch.Generator().manual_seed(1))


def seen_by(model, *inputs, **options):
    calls = []
    with watch(model).passes(calls.append, **options) as passes:
        for each in inputs:
            model(each)
    return calls, passes


def watch(model):
    return Watch(model, activation_modules(model))


PLAIN = nn.Module._call_impl, nn.Module.__call__


def torchs_own():
    """Whether modules are called as torch has it."""
    return (nn.Module._call_impl, nn.Module.__call__) == PLAIN


def test_calls_come_in_order_of_execution_each_with_its_turn():
    calls, _ = seen_by(Odd(), x())
    assert [call.place for call in calls] == [
        Place("first", turn=1, order=0, lap=1),
        Place("first", turn=2, order=1, lap=1),
        Place("last", turn=1, order=2, lap=1),
    ]
    assert [str(call.place) for call in calls] == ["first", "first#2", "last"]


def test_each_pass_of_the_model_begins_anew():
    calls, passes = seen_by(Odd(), x(), x())
    assert [call.place.lap for call in calls] == [1, 1, 1, 2, 2, 2]
    assert [call.place.order for call in calls] == [0, 1, 2] * 2
    assert passes.laps == 2


def test_parts_called_by_themselves_are_one_long_pass():
    model, places = network(), []
    with watch(model).passes(lambda call: places.append(call.place)) as passes:
        for part in (model[1], model[3], model[1]):
            part(torch.ones(2, 5))
    assert [(place.order, str(place), place.lap) for place in places] == [
        *((0, "1", 0), (1, "3", 0), (2, "1#2", 0))
    ]
    assert passes.laps == 0


def test_what_is_read_and_put_out():
    model = network()
    calls, _ = seen_by(model, x())
    h = model[0](x())
    assert torch.equal(calls[0].read, h)
    assert torch.equal(calls[0].output, model[1](h))
    assert int(calls[0].zeros) == int((model[1](h) == 0).sum()) > 0
    assert torch.equal(calls[0].at_clip, model[1](h) >= 1.0)
    assert calls[1].at_clip is None


@pytest.mark.parametrize("keyword", [False, True])
def test_arguments_by_keyword_and_arguments_that_are_no_tensors(keyword):
    class Scaled(nn.Module):
        is_activation = True

        def forward(self, factor, h):
            return factor * h.relu()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.phi = Scaled()

        def forward(self, h):
            return self.phi(2.0, h=h) if keyword else self.phi(2.0, h)

    (call,), _ = seen_by(Net(), x())
    assert torch.equal(call.read, x())


def test_without_a_tensor_in_and_out_a_call_is_not_seen():
    class Shapes(nn.Module):
        is_activation = True

        def forward(self, h):
            return h.shape if isinstance(h, torch.Tensor) else torch.ones(2)

    for given in (x(), [3, 4]):
        calls, passes = seen_by(Shapes(), given)
        assert calls == []
        assert passes.missing == ("Shapes",)


class Transposed(nn.Module):
    def forward(self, h):
        return h.transpose(1, 2)


class Turned(nn.Module):
    """A linear layer whose weight is [inputs, outputs]."""

    def __init__(self, inputs, outputs):
        super().__init__()
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.randn(inputs, outputs))

    def forward(self, h):
        return h @ self.weight


class ByHand(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        torch.manual_seed(0)
        self.w = nn.Parameter(torch.randn(inputs, outputs))

    def forward(self, h):
        return h @ self.w


LAYOUTS = {
    "[batch, units]": (nn.Linear(6, 4), (3, 6), 1),
    "[batch, tokens, units]": (nn.Linear(6, 4), (3, 5, 6), 2),
    "[batch, channels, length]": (nn.Conv1d(6, 4, 2), (3, 6, 7), 1),
    "[batch, channels, height, width]": (nn.Conv2d(6, 4, 3), (3, 6, 5, 8), 1),
    "tokens after a convolution": (
        nn.Sequential(nn.Conv1d(6, 3, 1), nn.Linear(7, 4)),
        (2, 6, 7),
        2,
    ),
    "channels after a linear layer, as many outputs as pixels": (
        nn.Sequential(nn.Linear(6, 5), nn.Conv1d(3, 4, 1)),
        (2, 3, 6),
        1,
    ),
    "half of the units of tokens": (
        nn.Sequential(nn.Linear(6, 8), nn.GLU()),
        (3, 5, 6),
        2,
    ),
    "units moved to the second axis": (
        nn.Sequential(nn.Linear(6, 4), Transposed()),
        (3, 5, 6),
        1,
    ),
    "channels moved to the last axis": (
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(2), Transposed()),
        (3, 2, 5, 6),
        2,
    ),
    "an image without a batch": (nn.Conv2d(2, 4, 3), (2, 5, 8), 0),
    "pooled channels": (
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        (3, 2, 5, 6),
        1,
    ),
    "a linear layer of another class": (Turned(6, 4), (3, 5, 6), 2),
    "a weight used by hand": (ByHand(6, 4), (3, 5, 6), 2),
    "images that a linear layer has made": (
        nn.Sequential(nn.Linear(6, 4 * 2 * 3), nn.Unflatten(1, (4, 2, 3))),
        (5, 6),
        1,
    ),
}


@pytest.mark.parametrize(("layer", "shape", "units"), LAYOUTS.values(), ids=LAYOUTS)
def test_the_axis_of_units_in_every_layout(layer, shape, units):
    model = nn.Sequential(layer, nn.ReLU())
    given = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    (call,), _ = seen_by(model, given)
    y = call.output
    by_hand = [int(part.count_nonzero()) for part in y.unbind(units)]
    assert call.active_by_unit.tolist() == by_hand
    assert len(by_hand) == 4
    others = [axis for axis in range(y.dim()) if axis != units]
    assert all(y.shape[axis] != 4 for axis in others)  # another axis would be seen


@pytest.mark.parametrize("shape", [(), (3,)])
def test_a_tensor_of_fewer_axes_is_one_unit(shape):
    (call,), _ = seen_by(nn.Sequential(nn.ReLU()), torch.ones(shape))
    assert call.active_by_unit.tolist() == [torch.ones(shape).numel()]


def test_before_an_in_place_module_overwrites_what_it_reads():
    model, q = nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True)), {}
    seen_by(model, x(), before=lambda place, h: q.update({str(place): h.detach().clone()}))
    assert torch.equal(q["1"], model[0](x()))
    assert (q["1"] < 0).any()


@pytest.mark.parametrize("inplace", [False, True])
def test_the_gradient_of_what_was_read_inside_the_block_alone(inplace):
    model, gradients = network(), {}
    model[3] = nn.ReLU(inplace=inplace)

    def gradient(place, value):
        gradients[place.name] = value

    with watch(model).passes(lambda _: None, gradient=gradient):
        inside, later = model(x()).sum(), model(x()).sum()
        inside.backward()
    by_hand = model[0](x()).detach().requires_grad_()
    model[2](model[1](by_hand)).relu().sum().backward()
    assert list(gradients) == ["3", "1"]
    torch.testing.assert_close(gradients["1"], by_hand.grad)
    gradients.clear()
    later.backward()
    assert gradients == {}


def test_a_tensor_that_is_returned_stands_in_the_outputs_place():
    model, after = network(), []

    def doubled(call):
        return 2.0 * call.output if call.place.name == "1" else None

    with (
        watch(model).passes(doubled),
        watch(model).passes(lambda call: after.append(call.output)),  # sees the new one
    ):
        changed = model(x())
    assert torch.equal(changed, model[3](model[2](2.0 * model[1](model[0](x())))))
    assert torch.equal(after[0], 2.0 * model[1](model[0](x())))
    assert not torch.equal(changed, model(x()))


def test_watching_changes_no_value():
    model = network()
    with watch(model).passes(lambda _: None, before=lambda *_: None):
        watched = model(x())
    assert torch.equal(watched, model(x()))


def test_nothing_is_left_behind():
    model = network()
    with watch(model).passes(lambda _: None):
        assert not torchs_own()
    assert torchs_own()


def nested(model, fails):
    """An error in an inner block, as deep as may be: in the block, the model or what is told."""

    def see(call):
        assert fails != "told"

    outer = []
    with watch(model).passes(outer.append):
        try:
            with watch(model).passes(see):
                model(x()[:, :5] if fails == "model" else x())
                assert fails != "block"
        finally:
            assert not torchs_own()  # the outer block's
            outer.clear()
            model(x())
            assert [str(call.place) for call in outer] == ["1", "3"]


@pytest.mark.parametrize("fails", ["block", "model", "told"])
def test_nothing_is_left_behind_by_an_error(fails):
    model = network()
    with pytest.raises((AssertionError, RuntimeError)):
        nested(model, fails)
    assert torchs_own()
    nested(model, "nothing")
    assert torchs_own()


def test_hooks_on_tensors_go_with_an_error():
    model, gradients, losses = network(), [], []

    def fail():
        losses.append(model(x()).sum())
        raise ZeroDivisionError

    told = {"gradient": lambda *_: gradients.append(1)}
    with (
        pytest.raises(ZeroDivisionError),
        watch(model).passes(lambda _: None, **told),
    ):
        fail()
    losses[0].backward()
    assert gradients == []


def test_a_module_that_never_fires_is_named_in_one_line():
    _, passes = seen_by(Odd(), x())
    assert passes.expected == ("last", "first", "unused")
    assert passes.fired == {"last", "first"}
    assert passes.missing == ("unused",)
    with pytest.warns(UserWarning, match=r"^1 of 3 watched modules were not called .*: unused; "):
        passes.warn()


@pytest.mark.parametrize("inputs", [(x(),), ()])
def test_where_all_fire_or_nothing_ran_there_is_no_warning(inputs):
    """The twin, and a block without a pass."""
    _, passes = seen_by(network(), *inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        passes.warn()
    assert passes.missing == (() if inputs else ("1", "3"))


def test_a_copy_or_a_pickle_made_inside_the_block_sees_nothing():
    model, file, calls = network(), io.BytesIO(), []
    with watch(model).passes(lambda call: calls.append(call.place)):
        twin = copy.deepcopy(model)
        torch.save(model, file)
        file.seek(0)
        again = torch.load(file, weights_only=False)
        for other in (twin, again):
            assert torch.equal(other(x()), model(x()))
    assert len(calls) == 2 * 2


def test_what_an_activation_is():
    class Own(nn.Module):
        is_activation = True

    assert all(map(is_activation, (nn.ReLU(), CReLU(0.1, 1.0), Own())))
    assert not any(map(is_activation, (nn.Linear(2, 2), nn.Sigmoid(), network())))


def test_modules_go_by_name_and_a_model_by_its_class():
    assert list(activation_modules(network())) == ["1", "3"]
    assert list(activation_modules(nn.ReLU())) == ["ReLU"]
    shared = nn.ReLU()
    assert list(modules_of(nn.Sequential(shared, shared), is_activation)) == ["0"]


def test_a_model_without_activation_modules_is_an_error():
    with pytest.raises(InvalidInput, match=r"Linear holds no activation module .* use the modules"):
        activation_modules(nn.Linear(2, 2))
