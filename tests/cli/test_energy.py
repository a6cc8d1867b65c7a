"""``sparsefield energy`` as a user calls it."""

import json
import shutil

import pytest

from sparsefield.cli import main

pytest.importorskip("sklearn")
SMALL = ["--data", "digits", "--width", "24", "--sparsity", "0.8", "--steps", "3", "--threads", "1"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A fully connected run and a convolutional one, which no test may change."""
    folder = tmp_path_factory.mktemp("runs")
    dnn = ["--depth", "4", "--skip", "0.5", "--out", str(folder / "dnn")]
    cnn = ["--network", "cnn", "--depth", "2", "--pool", "2", "--out", str(folder / "cnn")]
    assert main(["train", *SMALL, *dnn, "--json"]) == 0
    assert main(["train", *SMALL, *cnn, "--json"]) == 0
    return folder


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch, runs):
    """Pictures go where the user stands; the runs lie beside."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_ledger_and_a_picture_by_default(capsys, inside, runs):
    pytest.importorskip("matplotlib")
    assert main(["energy", str(runs / "dnn"), "--samples", "20"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [part in out for part in ("COUNTED on 20", "MODELLED by", "MEASURED: not")] == [True] * 3
    assert out.rstrip().endswith("energy.svg")
    assert (inside / "energy.svg").read_text().startswith("<?xml")


def test_json_is_one_object_and_draws_nothing(capsys, inside, runs):
    assert main(["energy", str(runs / "dnn"), "--samples", "20", "--batch", "5", "--json"]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert err == ""
    assert list(answer) == ["counted", "modelled", "measured", "training", "picture"]
    assert (answer["counted"]["samples"], answer["counted"]["batch"]) == (20, 5)
    assert answer["counted"]["dense_macs"] == 64 * 24 + 3 * 24 * 24 + 24 * 10
    assert answer["measured"] == []
    assert answer["picture"] is None
    assert list(inside.iterdir()) == []


def test_formats_and_tables_of_a_convolution(capsys, runs):
    flags = ["--format", "int8", "--arithmetic", "int8", "--table", "jouppi-7nm", "--samples", "4"]
    assert main(["energy", str(runs / "cnn"), *flags, "--json"]) == 0
    modelled = json.loads(capsys.readouterr().out)["modelled"]
    assert modelled["weights"] == {"name": "int8", "weight_bytes": 1, "scale_bytes": 4}
    assert modelled["table"]["name"] == "jouppi-7nm"
    assert modelled["dense"]["total_picojoules"] > modelled["sparse"]["total_picojoules"] > 0


def test_measure_reads_counters_or_says_why_not(capsys, runs):
    flags = ["--samples", "4", "--measure", "--window", "0.2", "--repeats", "2", "--json"]
    assert main(["energy", str(runs / "dnn"), *flags]) == 0
    model, engine = json.loads(capsys.readouterr().out)["measured"]
    assert model["what"] != engine["what"]
    for measured in (model, engine):
        if measured["absent"] is None:
            assert measured["counters"]
        else:
            assert measured["absent"].startswith("not measurable on this machine: ")
            assert measured["counters"] == []


def test_the_same_data_by_name(capsys, runs):
    answers = []
    for flags in ([], ["--data", "digits"]):
        assert main(["energy", str(runs / "dnn"), *flags, "--samples", "9", "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0] == answers[1]


BAD = {
    "no directory": (["nowhere"], "nowhere: there is no such directory"),
    "no run": (["."], "config.yaml"),
    "batch 0": (["RUN", "--batch", "0"], "batch 0"),
    "batch above samples": (["RUN", "--batch", "9", "--samples", "8"], "the 8 samples"),
    "batch above the test set": (["RUN", "--batch", "999", "--samples", "9999"], "355 samples"),
    "no samples": (["RUN", "--samples", "0"], "0 samples"),
    "format": (["RUN", "--format", "int4"], "int4"),
    "table": (["RUN", "--table", "tdp"], "tdp"),
    "picture": (["RUN", "--out", "a.gif"], ".svg, .png, .pdf"),
    "unknown data": (["RUN", "--data", "./nothing"], "nothing"),
    "window": (["RUN", "--measure", "--window", "0"], "window 0 s"),
    "repeats": (["RUN", "--measure", "--repeats", "1"], "repeats 1"),
}


@pytest.mark.parametrize(("flags", "says"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_exit_code_2(flags, says, capsys, runs):
    given = [str(runs / "dnn") if flag == "RUN" else flag for flag in flags]
    assert main(["energy", *given]) == 2
    assert_one_line(capsys, says)


def test_a_run_without_weights(capsys, inside, runs):
    shutil.copytree(runs / "dnn", inside / "cut")
    (inside / "cut" / "model.safetensors").unlink()
    assert main(["energy", "cut"]) == 2
    assert_one_line(capsys, "model.safetensors")


def test_data_of_another_shape(capsys, inside, runs):
    """A run on images of 8 x 8 does not take others."""
    np, pa = pytest.importorskip("numpy"), pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("datasets")
    folder = inside / "other"
    folder.mkdir()
    values = np.arange(50.0, dtype=np.float32).reshape(10, 5)
    table = pa.table(
        {"x": pa.FixedSizeListArray.from_arrays(values.ravel(), 5), "label": [0, 1] * 5}
    )
    for split in ("train", "test"):
        parquet.write_table(table, folder / f"{split}-00000-of-00001.parquet")
    assert main(["energy", str(runs / "dnn"), "--data", "./other"]) == 2
    assert_one_line(capsys, "gives 5 inputs")


def assert_one_line(capsys, says):
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("sparsefield: error: ")
    assert err.count("\n") == 1
    assert says in err


def test_help_exits_0(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["energy", "--help"])
    assert stop.value.code in (0, None)
    assert "--measure" in capsys.readouterr().out
