"""What a model multiplies without the module of a layer: counted as that layer, or named."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from sparsefield.energy import count, ledger
from sparsefield.errors import InvalidInput


def data(*shape):
    return torch.randn(*(shape or (4, 6)), generator=torch.Generator().manual_seed(0))


class Model(nn.Module):
    """Some parameters and what is done with them."""

    def __init__(self, forward, **parts):
        super().__init__()
        torch.manual_seed(0)
        for name, part in parts.items():
            setattr(self, name, part() if callable(part) else part)
        self.run = forward

    def forward(self, x):
        return self.run(self, x)


def weight(*shape):
    return lambda: nn.Parameter(torch.randn(*shape))


def layer(outputs=5, inputs=6):
    return lambda: nn.Linear(inputs, outputs)


LINEAR = {
    "F.linear": (lambda m, x: F.linear(x, m.a.weight, m.a.bias), layer()),
    "F.linear without its bias": (lambda m, x: F.linear(x, m.a.weight), layer()),
    "@": (lambda m, x: x @ m.a, weight(6, 5)),
    "matmul from the left": (lambda m, x: torch.matmul(m.a, x.T).T, weight(5, 6)),
    "mm": (lambda m, x: torch.mm(x, m.a), weight(6, 5)),
    "addmm": (lambda m, x: torch.addmm(torch.ones(5), x, m.a), weight(6, 5)),
    "addmm to a parameter": (lambda m, x: torch.addmm(m.shift, x, m.a), weight(6, 5)),
    "einsum": (lambda m, x: torch.einsum("bi,oi->bo", x, m.a), weight(5, 6)),
    "bmm": (lambda m, x: torch.bmm(x[None], m.a[None])[0], weight(6, 5)),
    "in pieces": (lambda m, x: torch.stack([m.a @ row for row in x]), weight(5, 6)),
    "under inference_mode": (lambda m, x: inferred(m.a, x), layer()),
}


def inferred(part, x):
    with torch.inference_mode():
        return F.linear(x, part.weight, part.bias)


@pytest.mark.parametrize(("forward", "a"), LINEAR.values(), ids=LINEAR)
@pytest.mark.parametrize("zeros", [0, 17])
def test_a_weight_used_by_hand_is_the_layer_that_it_is(forward, a, zeros):
    x = data()
    x.view(-1)[:zeros] = 0.0
    held = nn.Buffer(torch.ones(4, 5))
    counted = count(Model(forward, a=a, shift=held), x, batch=4)
    (found,) = counted.layers
    assert (found.name, found.kind, found.weight_shape) == ("a", "Linear", (5, 6))
    assert found.dense_macs == 4 * 30
    assert found.effective_macs == found.active_products == (24 - zeros) * 5
    assert (found.weights, found.rows, found.row_width) == (30, 6, 5)
    assert (found.inputs, found.active_inputs, found.outputs) == (24, 24 - zeros, 20)
    assert counted.uncounted == ()


def test_by_hand_and_by_its_module_all_numbers_are_equal():
    x = F.relu(data(6, 3, 6))
    by_module = Model(lambda m, x: m.a(x), a=layer())
    by_hand = Model(lambda m, x: F.linear(x, m.a.weight, m.a.bias), a=layer())
    assert count(by_hand, x, batch=2).to_dict() == count(by_module, x, batch=2).to_dict()


CONVOLUTIONS = {
    "plain": {},
    "strided": {"stride": 2, "padding": 1},
    "spread": {"dilation": 2, "padding": 2},
    "grouped": {"groups": 2},
}


@pytest.mark.parametrize("options", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.Conv3d])
def test_a_kernel_used_by_hand(kind, options):
    make, axes = (lambda: kind(4, 6, 3, **options)), int(kind.__name__[4])
    function = getattr(F, f"conv{axes}d")
    x = F.relu(data(3, 4, *[7, 6, 5][:axes]))
    by_hand = Model(lambda m, x: function(x, m.a.weight, m.a.bias, **options), a=make)
    by_module = Model(lambda m, x: m.a(x), a=make)
    assert count(by_hand, x, batch=3).to_dict() == count(by_module, x, batch=3).to_dict()


def test_a_weight_for_each_head_is_a_grouped_layer():
    model = Model(lambda m, x: torch.bmm(x.unflatten(1, (2, 3)).transpose(0, 1), m.w))
    model.w = nn.Parameter(torch.randn(2, 3, 5))
    (found,) = count(model, data(), batch=4).layers
    assert found.dense_macs == 4 * 2 * 15
    assert (found.rows, found.row_width, found.weights, found.lists) == (6, 5, 30, 4)


def test_a_tied_decoder_is_a_layer_beside_its_encoder():
    model = Model(lambda m, x: F.linear(F.relu(m.a(x)), m.a.weight.T), a=layer())
    found = count(model, data(), batch=2).layers
    assert [(each.name, each.weight_shape) for each in found] == [("a", (5, 6)), ("a#2", (6, 5))]


def test_a_layer_called_and_used_by_hand_is_one():
    model = Model(lambda m, x: F.linear(m.a(x), m.a.weight, m.a.bias), a=layer(6, 6))
    (found,) = count(model, data(), batch=4).layers
    assert (found.calls, found.dense_macs) == (2, 2 * 4 * 36)


def test_a_head_tied_to_an_embedding_is_counted_once():
    model = Model(lambda m, x: m.head(m.emb(x)), emb=lambda: nn.Embedding(7, 6), head=layer(7))
    model.head.weight = model.emb.weight
    counted = count(model, torch.arange(6).reshape(3, 2), batch=3)
    assert [each.name for each in counted.layers] == ["head"]
    assert counted.dense_macs == 2 * 42
    assert counted.uncounted == ("emb (Embedding)",)


@pytest.mark.parametrize("how", ["weight_norm", "spectral_norm"])
def test_a_weight_that_is_computed_belongs_to_its_layer(how):
    make = lambda: getattr(parametrizations, how)(nn.Linear(6, 5))  # noqa: E731
    counted = count(Model(lambda m, x: m.a(x), a=make), data())
    assert [each.name for each in counted.layers] == ["a"]
    assert counted.dense_macs == 30


def test_further_weights_of_a_layers_own_class():
    class LowRank(nn.Linear):
        def __init__(self):
            super().__init__(6, 5)
            self.down = nn.Parameter(torch.randn(6, 2))
            self.up = nn.Parameter(torch.randn(2, 5))

        def forward(self, x):
            return super().forward(x) + x @ self.down @ self.up

    counted = count(Model(lambda m, x: m.a(x), a=LowRank), data())
    assert {each.name for each in counted.layers} == {"a", "a.down", "a.up"}
    assert counted.dense_macs == 30 + 12 + 10


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("gradients", [True, False])
def test_attention(need_weights, gradients):
    def forward(m, x):
        with torch.set_grad_enabled(gradients):
            return m.attn(x, x, x, need_weights=need_weights)[0]

    model = Model(forward, attn=lambda: nn.MultiheadAttention(8, 2, batch_first=True))
    counted = count(model, data(3, 5, 8), batch=3)
    names = [(each.name, each.kind) for each in counted.layers]
    assert names[0] == ("attn.in_proj_weight", "Linear")
    assert names[1][0] == "attn.out_proj"
    assert counted.dense_macs == 5 * (3 * 64 + 64)
    scores = 2 * (2 * 5 * 5 * 4)  # heads, queries, keys, width: scores, and what they weigh
    macs = [float(each.rpartition(" ")[0].rpartition(" ")[2]) for each in counted.uncounted]
    assert sum(macs) == scores
    assert all(each.startswith("attn (") for each in counted.uncounted)


@pytest.mark.parametrize(
    ("forward", "name"),
    [
        (lambda m, x: F.scaled_dot_product_attention(*[m.a(x)[:, None]] * 3)[:, 0], "attention"),
        (lambda m, x: (y := m.a(x)) @ y.mT @ y, "bmm"),
        (lambda m, x: torch.einsum("bij,bkj,bkl->bil", *[m.a(x)] * 3), "bmm"),
    ],
)
def test_products_of_activations_are_named_with_their_number(forward, name):
    counted = count(Model(forward, a=layer(8, 8)), data(4, 5, 8), batch=2)
    assert counted.dense_macs == 5 * 64
    assert counted.uncounted == (f"Model ({name}: {2 * 5 * 5 * 8} MACs)",)


def test_a_transposed_convolution_and_an_unknown_layer_are_named():
    model = Model(lambda m, x: m.up(m.a(x)), a=lambda: nn.Conv2d(2, 4, 1), up=lambda: up())
    counted = count(model, data(2, 2, 3, 3))
    assert counted.uncounted == (f"up (ConvTranspose2d: {9 * 4 * 3 * 4} MACs)",)


def up():
    return nn.ConvTranspose2d(4, 3, 2, 2)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("whole", [True, False])
def test_what_is_compiled_is_counted(whole):
    torch._dynamo.reset()
    plain = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    wanted = count(plain, data(), batch=2).to_dict()
    if whole:
        model = torch.compile(plain, backend="eager")
    else:
        model = nn.Sequential(torch.compile(plain[0], backend="eager"), *plain[1:])
    with torch.no_grad():
        model.eval()(data())
    assert count(model, data(), batch=2).to_dict() == wanted


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_scripted_part_is_counted_by_its_weights():
    plain = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 2))
    scripted = nn.Sequential(torch.jit.trace(plain[0], data()), plain[1])
    counted = count(scripted, data(), batch=4)
    assert [each.name for each in counted.layers] == ["0", "1"]
    assert counted.dense_macs == count(plain, data(), batch=4).dense_macs


def test_a_weight_that_is_computed_by_hand_is_named():
    model = Model(lambda m, x: F.linear(m.b(x), m.a * m.mask), a=weight(5, 6), b=layer(6))
    model.mask = torch.ones(5, 6)
    counted = count(model, data())
    assert [each.name for each in counted.layers] == ["b"]
    assert counted.uncounted == ("Model (Model)", "Model (mm: 30 MACs)")
    model.run = lambda m, x: F.linear(x, m.a * m.mask)
    with pytest.raises(InvalidInput, match=r"nothing to count; in no column are: .*mm: 30 MACs"):
        count(model, data())


def test_a_ledger_of_weights_by_hand():
    model = Model(lambda m, x: F.relu(x @ m.w1) @ m.w2, w1=weight(6, 9), w2=weight(9, 2))
    book = ledger(model, data(), batch=2)
    assert "w1" in str(book)
    assert book.modelled.dense.total > book.modelled.sparse.total
