"""``sparsefield solve`` as a user calls it: JSON by contract, a table, one-line errors."""

import json
import subprocess
import sys

import pytest

from sparsefield.cli import main
from sparsefield.theory import finite_width, solve

SOLVE = ["solve", "--family", "crelu", "--sparsity", "0.9"]
KEYS = [
    *("family", "sparsity", "q", "tau", "m", "clip", "sigma_w2", "sigma_b2", "chi1"),
    *("slope", "curvature", "fixed_points", "unique", "basin"),
]


def test_json_has_the_contracts_keys_and_nothing_else_on_stdout(capsys):
    assert main([*SOLVE, "--q", "4", "--clip", "1.1", "--json"]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert list(answer) == KEYS
    assert err == ""
    assert set(answer["fixed_points"][0]) == {"q", "slope", "stable"}
    assert answer["basin"] == [0.0, None]


def test_finite_width_comes_with_width_and_depth(capsys):
    assert main([*SOLVE, "--clip", "1.5", "--width", "50", "--depth", "20", "--json"]) == 0
    finite = json.loads(capsys.readouterr().out)["finite_width"]
    assert set(finite) == {"q_mean", "q_std", "escape_probability"}
    point = solve("crelu", sparsity=0.9, clip=1.5)
    want = finite_width(point.variance_map(), 1.0, width=50, depth=20)
    assert finite["escape_probability"] == want.escape_probability > 0.1


def test_clip_auto_and_chi1_typical_come_as_numbers(capsys):
    size = ["--width", "60", "--depth", "15"]
    assert main([*SOLVE, "--clip", "auto", *size, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert 0.005 < answer["finite_width"]["escape_probability"] < 0.01
    assert main([*SOLVE, "--clip", "auto", *size, "--escape", "0.1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clip"] > answer["clip"]
    assert main([*SOLVE, "--clip", "0.8", "--chi1", "typical", "--width", "100", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["chi1"] > 1.1


def test_table_tells_of_gradients_and_the_certificate_of_the_rest(capsys):
    assert main([*SOLVE, "--clip", "2", "--width", "9000", "--depth", "3", "--certificate"]) == 0
    table = capsys.readouterr().out
    for words in ("|g_1|^2 / |g_L|^2", "typically 10^", "verdict", "fragile"):
        assert words in table
    assert main([*SOLVE, "--clip", "2", "--certificate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["certificate"]["verdict"] == "fragile"


EDGES = {
    "almost all zeros": ["--sparsity", "0.999999999999", "--clip", "1"],
    "almost no clip height": ["--clip", "1e-9"],
    "almost no clip": ["--clip", "1e9"],
}


@pytest.mark.parametrize("size", [(300, 100), (1, 100), (300, 1), (1, 1)], ids=str)
@pytest.mark.parametrize("flags", EDGES.values(), ids=EDGES)
def test_the_edges_have_finite_answers(flags, size, capsys):
    width, depth = map(str, size)
    assert main([*SOLVE, *flags, "--width", width, "--depth", depth, "--json"]) == 0
    out, err = capsys.readouterr()
    finite = json.loads(out, parse_constant=pytest.fail)["finite_width"]  # no NaN, no Infinity
    assert err == ""
    assert 0.0 <= finite["escape_probability"] <= 1.0
    assert finite["q_mean"] > 0.0
    if depth == "1" or "1e-9" in flags:
        assert finite["escape_probability"] == 0.0
        assert finite["q_mean"] == pytest.approx(1.0)


def test_unclipped_family_prints_null(capsys):
    assert main(["solve", "--family", "relu", "--sparsity", "0.9", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["m"] is None
    assert answer["clip"] is None


def test_table_names_the_papers_symbols(capsys):
    assert main([*SOLVE, "--clip", "2"]) == 0
    table = capsys.readouterr().out
    for word in ("sigma_w^2", "V'(q*)", "chi_1", "m / sqrt(q*)", "repels"):
        assert word in table


BAD = {
    "sparsity": (["--sparsity", "1.5", "--clip", "1"], "sparsity 1.5"),
    "none of clip, m, slope": ([], "give exactly one of clip, m and slope"),
    "two of them": (["--clip", "1", "--m", "2"], "clip 1 and m 2 given"),
    "impossible slope": (["--slope", "2"], "lies between"),
    "repelling": (["--clip", "3", "--chi1", "1.2"], "repels"),
    "auto without a size": (["--clip", "auto"], "clip auto without width"),
    "auto and m": (["--clip", "auto", "--m", "1", "--width", "9", "--depth", "9"], "leave one out"),
    "typical without a width": (["--clip", "1", "--chi1", "typical"], "typical without width"),
    "width alone": (["--clip", "1", "--width", "30"], "both --width and --depth"),
    "not a number": (["--clip", "wide"], "'wide'"),
    "unknown flag": (["--clip", "1", "--cilp", "1"], "--cilp"),
    "q": (["--clip", "1", "--q", "-1"], "q -1"),
    "sparsity 1": (["--sparsity", "1", "--clip", "1"], "sparsity 1.0"),
    "clip 0": (["--clip", "0"], "clip 0.0: must be positive"),
    "clip infinite": (["--clip", "inf"], "clip inf: must be finite"),
    "clip never reached": (["--clip", "1e300"], "use the unclipped family"),
    "chi1 0": (["--clip", "1", "--chi1", "0"], "chi1 0.0: must be positive"),
    "too large": (["--clip", "1", "--width", "10000000", "--depth", "100"], "give draws="),
    "depth zero": (["--clip", "1", "--width", "3", "--depth", "0"], "depth 0"),
    "width zero": (["--clip", "1", "--width", "0", "--depth", "3"], "width 0"),
}


@pytest.mark.parametrize(("flags", "says"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_exit_code_2(flags, says, capsys):
    assert main([*SOLVE, *flags]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("sparsefield: error: ")
    assert err.count("\n") == 1
    assert says in err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["fly"], "command 'fly' is unknown; choose one of solve"),
        (["solve", "--family", "gelu", "--sparsity", "0.9"], "gelu"),
        (["solve", "--family", "crelu"], "--sparsity"),
        (["solve", "--family", "relu", "--sparsity", "0.2"], "sigma_b2 = -"),
    ],
)
def test_other_mistakes_too(argv, says, capsys):
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", [[], ["solve"], ["train"], ["demo"], ["report"]])
def test_help_exits_0(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code in (0, None)
    assert "usage: sparsefield" in capsys.readouterr().out


def test_solve_does_not_import_torch():
    code = (
        "import sys; from sparsefield.cli import main; "
        "assert main(['solve', '--family', 'st', '--sparsity', '0.9']) == 0; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_module_entry_point():
    command = [sys.executable, "-m", "sparsefield", "solve", "--family", "crelu", "--clip", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
