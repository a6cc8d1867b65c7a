"""bench() from a model to its JSON, with an engine that is handed in."""

import json

import pytest
import torch
from torch import nn

from sparsefield.bench import Rival, bench, named_rivals
from sparsefield.bench.crossover import density_of, exact_inputs
from sparsefield.bench.table import duration, losing
from sparsefield.errors import InvalidInput
from sparsefield.nn import CReLU

QUICK = {"seconds": 1e-3, "batches": (1, 3), "layers": 3, "densities": (0.0, 0.5, 1.0)}


def test_a_dnn(dnn, stand_in):
    rivals = (*named_rivals(["embedding_bag"]), stand_in())
    result = bench(dnn, torch.randn(9, 7), subject="small", rivals=rivals, **QUICK)
    answer = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert [(row["batch"], row["contender"]) for row in answer["rows"]] == [
        (batch, name) for batch in (1, 3) for name in ("eager", "embedding_bag", "engine")
    ]
    assert all(row["status"] == "timed" and row["n"] >= 5 for row in answer["rows"])
    assert all(row["median_s"] > 0 for row in answer["rows"])
    assert {row["of"] for row in answer["layers"]} == {"layers.0", "layers.2", "head"}
    assert len(answer["layers"]) == 3 * 2 * 3
    assert answer["crossover_layer"] == "Linear 33 x 33"
    # 33 inputs: half of them is 16
    assert sorted({cell["density"] for cell in answer["crossover"]}) == [0.0, 16 / 33, 1.0]
    assert {cell["batch"] for cell in answer["crossover"]} == {1, 8, 32, 128}
    assert answer["threads"] == 1
    assert 0.7 < answer["sparsity"] < 0.9
    assert len(answer["sparsity_by_activation"]) == 4


def test_the_table_says_what_was_timed_and_what_was_not(dnn, stand_in):
    rivals = (*named_rivals(["channels_last"]), stand_in(error=1.0))
    result = bench(dnn, torch.randn(9, 7), subject="small", rivals=rivals, **QUICK)
    text = str(result)
    assert "channels_last absent: no convolution" in text
    assert "engine        wrong: off by 1" in text
    assert "1 thread(s) for every contender" in text
    assert result.rows[-1].status == "wrong"
    assert result.rows[-1].median_s is None


@pytest.mark.parametrize(
    ("backend", "says"),
    [
        ("embedding_bag", "built without a compiler: embedding_bag, 1 thread(s)"),
        ("native avx2", "  native avx2, 1 thread(s)"),
    ],
)
def test_the_table_says_what_the_engine_is_built_with(backend, says, dnn):
    def make(model, sample):
        made = nn.Sequential(model)
        made.backend, made.threads = backend, 1
        return made

    rivals = (*named_rivals([]), Rival("engine", make))
    quick = {**QUICK, "layers": 0}
    result = bench(dnn, torch.randn(9, 7), subject="a", rivals=rivals, crossover=False, **quick)
    assert says in str(result)


def test_a_cnn(cnn, stand_in):
    rivals = (*named_rivals([]), stand_in())
    result = bench(cnn, torch.randn(4, 2, 8, 8), subject="small", rivals=rivals, **QUICK)
    assert result.crossover_layer == "Conv2d 3 x 3 x 6 x 6, stride 2, circular"
    assert {cell.batch for cell in result.crossover} == {1, 4, 16}
    assert "where is dense faster?" in str(result)


def test_the_model_is_left_as_it_was(dnn):
    dnn.train()
    bench(dnn, torch.randn(9, 7), subject="a", rivals=named_rivals(["csr"]), **QUICK)
    assert dnn.training
    assert all(parameter.requires_grad for parameter in dnn.parameters())
    assert not any(module._forward_hooks for module in dnn.modules())


def test_nothing_that_could_use_zeros_has_no_crossover(dnn):
    dense = bench(dnn, torch.randn(9, 7), subject="a", rivals=named_rivals([]), **QUICK)
    assert dense.crossover == ()
    plain = nn.Sequential(nn.Linear(7, 3))
    rivals = named_rivals(["embedding_bag"])
    assert bench(plain, torch.randn(9, 7), subject="a", rivals=rivals, **QUICK).crossover == ()


def test_stages_are_told(dnn):
    told = []
    bench(
        dnn,
        torch.randn(9, 7),
        subject="a",
        rivals=named_rivals(["embedding_bag"]),
        progress=told.append,
        **QUICK,
    )
    assert told[0] == "network, batch 1"
    assert "layer layers.2, batch 3" in told
    assert told[-1] == "density x batch on Linear 33 x 33"


BAD = [
    ({"batches": ()}, "batch"),
    ({"batches": (0, 1)}, "batch"),
    ({"seconds": 0.0}, "seconds"),
    ({"seconds": float("inf")}, "seconds"),
    ({"layers": -1}, "layers"),
    ({"rivals": ()}, "eager is missing"),
]


@pytest.mark.parametrize(("flags", "says"), BAD)
def test_bad_values(flags, says, dnn):
    with pytest.raises(InvalidInput, match=says):
        bench(dnn, torch.randn(9, 7), subject="a", **{**QUICK, **flags})


def test_bad_models_and_inputs(dnn):
    with pytest.raises(InvalidInput, match="float32"):
        bench(dnn, torch.randn(9, 7).double(), subject="a", **QUICK)
    with pytest.raises(InvalidInput, match="there are none"):
        bench(dnn, torch.randn(0, 7), subject="a", **QUICK)
    with pytest.raises(InvalidInput, match="float32"):
        bench(dnn.double(), torch.randn(9, 7), subject="a", **QUICK)


@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(5, 33), (2, 3, 4, 5)])
def test_synthetic_inputs_have_exactly_that_density(density, shape):
    first, second = exact_inputs(shape, density, 2)
    kept = CReLU(1.0, 1.0)(first) != 0
    exact = density_of(density, shape[1:])
    size = kept[0].numel()
    assert kept.flatten(1).sum(1).tolist() == [round(exact * size)] * shape[0]
    assert exact == round(density * size) / size
    if 0 < density < 1 and round(density * size):
        assert not kept.equal(CReLU(1.0, 1.0)(second) != 0)


def test_durations_and_losing_cells():
    assert [duration(t) for t in (2.0, 0.0123, 4e-6)] == ["2 s", "12.3 ms", "4 us"]
    ratios = {0.1: 0.5, 0.5: 1.2, 1.0: None}
    cells = [
        {"contender": "engine", "batch": 1, "density": density, "time_ratio": ratio}
        for density, ratio in ratios.items()
    ]
    assert losing(cells) == {("engine", 1): [0.5]}
