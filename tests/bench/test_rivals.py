"""Every rival gives the model's outputs, or says why it cannot."""

import sys
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from sparsefield.bench import RIVALS, Absent, Rival, named_rivals, prepare
from sparsefield.bench.sparse_rivals import CSRLinear, EmbeddingBagLinear
from sparsefield.errors import InvalidInput
from sparsefield.nn import CReLU


def prepared(name, model, *batches):
    with torch.no_grad():
        (contender,) = prepare([RIVALS[name]], model, batches)
    return contender


def needs(*modules):
    """Skip without these; importing one is left to the rival."""
    for name in modules:
        if name not in sys.modules and find_spec(name) is None:
            pytest.skip(f"{name} is not installed")


@pytest.mark.parametrize("batch", [1, 6])
@pytest.mark.parametrize("name", ["eager", "embedding_bag", "csr"])
def test_a_dnn_with_skip(name, batch, dnn):
    contender = prepared(name, dnn, torch.randn(batch, 7), torch.randn(batch, 7))
    assert (contender.status, contender.reason) == ("timed", "")


@pytest.mark.parametrize("kind", [EmbeddingBagLinear, CSRLinear])
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_a_sparse_product_is_the_dense_one(kind, density, bias):
    torch.manual_seed(0)
    layer = nn.Linear(13, 5, bias=bias)
    a = torch.randn(4, 13) * (torch.rand(4, 13) < density)
    a[1] = 0.0
    with torch.no_grad():
        torch.testing.assert_close(kind(layer)(a), layer(a))
        torch.testing.assert_close(kind(layer)(a[2:3]), layer(a[2:3]))


def test_a_nan_is_not_a_zero():
    layer = nn.Linear(3, 2)
    a = torch.tensor([[0.0, torch.nan, 0.0]])
    with torch.no_grad():
        assert EmbeddingBagLinear(layer)(a).isnan().all()


def test_the_users_model_is_not_changed(dnn):
    before = {name: value.clone() for name, value in dnn.named_parameters()}
    prepared("embedding_bag", dnn, torch.randn(2, 7))
    prepared("csr", dnn, torch.randn(2, 7))
    assert all(value.equal(before[name]) for name, value in dnn.named_parameters())
    assert all(isinstance(layer, nn.Linear) for layer in dnn.layers)


def test_a_cnn(cnn):
    x = torch.randn(2, 2, 8, 8)
    assert prepared("channels_last", cnn, x).status == "timed"
    for name in ("embedding_bag", "csr"):
        contender = prepared(name, cnn, x)
        assert contender.status == "absent"
        assert contender.reason == "no Linear layer here reads an activation"


def test_channels_last_needs_a_convolution(dnn):
    assert "no convolution" in prepared("channels_last", dnn, torch.randn(2, 7)).reason


@pytest.mark.parametrize(
    ("rival", "module"),
    [*(("onnxruntime", name) for name in ("onnx", "onnxscript", "onnxruntime")), ("openvino",) * 2],
)
def test_what_is_not_installed_is_named(rival, module, dnn, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    contender = prepared(rival, dnn, torch.randn(2, 7))
    if module == rival:
        assert f"{rival} is not installed" in contender.reason
    assert contender.status == "absent"
    assert "pip install 'sparsefield[bench]'" in contender.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rival", "modules"),
    [("onnxruntime", ("onnx", "onnxscript", "onnxruntime")), ("openvino", ("openvino",))],
)
@pytest.mark.parametrize("network", ["dnn", "cnn"])
def test_an_exported_model(rival, modules, network, request):
    needs(*modules)
    model = request.getfixturevalue(network)
    shape = (3, 7) if network == "dnn" else (3, 2, 8, 8)
    contender = prepared(rival, model, torch.randn(shape), torch.randn(shape))
    assert (contender.status, contender.reason) == ("timed", "")


@pytest.mark.slow
def test_openvino_reports_to_nobody(dnn):
    """Where the package that sends is installed, the import passes it by."""
    needs("openvino", "openvino_telemetry")
    prepared("openvino", dnn, torch.randn(2, 7))
    assert "openvino.tools.ovc.telemetry_stub" in sys.modules
    assert not [name for name in sys.modules if name.startswith("openvino_telemetry.")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "follows"), [("compile", True), ("compile-frozen", False)])
def test_compile_follows_its_weights_unless_frozen(name, follows, dnn):
    x = torch.randn(3, 7)
    contender = prepared(name, dnn, x, torch.randn(3, 7))
    if "compiler" in contender.reason:
        pytest.skip(contender.reason)
    assert (contender.status, contender.reason) == ("timed", "")
    with torch.inference_mode():
        dnn.head.bias += 1.0
        assert torch.allclose(contender.call(x), dnn(x), atol=1e-4) == follows


def test_names():
    assert [rival.name for rival in named_rivals(RIVALS)] == list(RIVALS)
    assert [rival.name for rival in named_rivals(["csr", "eager"])] == ["eager", "csr"]
    with pytest.raises(InvalidInput, match="'numba' is unknown; choose from eager"):
        named_rivals(["numba"])


def test_a_wrong_rival_is_told_from_a_right_one(dnn, stand_in):
    batches = [torch.randn(3, 7), torch.randn(3, 7)]
    with torch.no_grad():
        right, wrong = prepare([stand_in(), stand_in(error=0.1)], dnn, batches)
    assert (right.status, right.backend, right.threads) == ("timed", "stand-in", 1)
    assert wrong.status == "wrong"
    assert wrong.reason.startswith("off by 0.1 where the largest output is ")
    assert wrong.call is None


def test_wrong_on_the_second_batch_only(dnn):
    first = torch.randn(3, 7)

    def make(model, sample):
        return lambda x: model(x) if x.equal(sample) else model(x) * 1.01

    with torch.no_grad():
        (contender,) = prepare([Rival("late", make)], dnn, [first, torch.randn(3, 7)])
    assert contender.status == "wrong"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda y: y[:, :1], "[3, 1] for"),
        (lambda y: y.double(), "torch.float64"),
        (lambda y: y * torch.nan, "off by nan"),
    ],
)
def test_other_ways_to_be_wrong(answer, says, dnn):
    rival = Rival("odd", lambda model, sample: lambda x: answer(model(x)))
    with torch.no_grad():
        (contender,) = prepare([rival], dnn, [torch.randn(3, 7)])
    assert contender.status == "wrong"
    assert says in contender.reason


def test_a_rival_that_fails_is_listed_with_its_reason(dnn):
    def fails(model, sample):
        raise RuntimeError("no such kernel\nand much more")

    def refuses(model, sample):
        raise Absent("takes no networks")

    with torch.no_grad():
        failed, refused = prepare(
            [Rival("a", fails), Rival("b", refuses)], dnn, [torch.randn(3, 7)]
        )
    assert failed.reason == "RuntimeError: no such kernel"
    assert refused.reason == "takes no networks"
    assert failed.status == refused.status == "absent"


def test_only_a_layer_that_reads_an_activation_as_it_is_becomes_sparse():
    model = nn.Sequential(
        nn.Linear(4, 4),
        CReLU(0.5, 1.0),
        nn.Tanh(),
        nn.Linear(4, 4),
        CReLU(0.5, 1.0),
        nn.Linear(4, 2),
    )
    with torch.no_grad():
        changed = RIVALS["embedding_bag"].make(model, torch.randn(2, 4))
    assert [isinstance(part, EmbeddingBagLinear) for part in changed] == [
        *(False, False, False, False, False, True)
    ]
