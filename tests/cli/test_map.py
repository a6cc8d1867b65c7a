"""``sparsefield map`` and ``sparsefield figure`` as a user calls them."""

import json

import pytest

from sparsefield.cli import main

MAP = ["map", "--family", "crelu"]
SMALL = ["--size", "12x9"]


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    """Pictures go where the user stands."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_summary_and_a_picture_by_default(capsys, inside):
    pytest.importorskip("matplotlib")
    assert main([*MAP, *SMALL]) == 0
    out, _ = capsys.readouterr()
    assert "unique" in out
    assert out.rstrip().endswith("map-crelu-sparsity-clip.svg")
    assert (inside / "map-crelu-sparsity-clip.svg").read_text().startswith("<?xml")


def test_json_alone_draws_nothing(capsys, inside):
    assert main([*MAP, *SMALL, "--quantity", "slope,stability", "--json"]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert err == ""
    assert list(answer["grids"]) == ["slope", "stability"]
    assert len(answer["grids"]["slope"]["values"]) == 9
    assert answer["picture"] is None
    assert list(inside.iterdir()) == []


def test_json_with_a_picture(capsys, inside):
    pytest.importorskip("matplotlib")
    flags = ["--y", "q", "--m", "1", "--quantity", "curvature", "--out", "deep/one.png", "--json"]
    assert main([*MAP, *SMALL, *flags]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["fixed"] == {"m": 1.0}
    assert (inside / answer["picture"]).read_bytes().startswith(b"\x89PNG")


def test_a_family_without_a_clip_is_drawn_over_q(capsys):
    assert main(["map", "--family", "st", "--size", "3x2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["y"] == "q"


def test_escape_at_a_width_and_depth(capsys):
    flags = ["--quantity", "escape", "--width", "50", "--depth", "5", "--escape-size", "2x2"]
    assert main([*MAP, *SMALL, *flags, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["grids"]["escape"]["values"]) == 2
    assert answer["fixed"] == {"width": 50.0, "depth": 5.0}


BAD = {
    "size": (["--size", "12"], "COLUMNSxROWS"),
    "quantity": (["--quantity", "speed"], "'speed'"),
    "ending": (["--out", "a.gif"], ".svg, .png, .pdf"),
    "range": (["--x-range", "0.9", "0.5"], "must ascend"),
    "twice": (["--clip", "1"], "clip is given twice"),
    "no m": (["--y", "q"], "neither clip nor m"),
    "no width": (["--quantity", "escape"], "width and a depth"),
    "axis": (["--y", "height"], "height"),
    "folder": (["--out", "taken/a.svg", *SMALL], "taken"),
}


@pytest.mark.parametrize(("flags", "says"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_exit_code_2(flags, says, capsys, inside):
    (inside / "taken").write_text("a file")
    assert main([*MAP, *flags]) == 2
    err = capsys.readouterr().err
    assert err.startswith("sparsefield: error: ")
    assert err.count("\n") == 1
    assert says in err


def test_figure_by_name(capsys, inside):
    pytest.importorskip("matplotlib")
    assert main(["figure", "fixed-points", "--out", "pictures", "--json"]) == 0
    (path,) = json.loads(capsys.readouterr().out)["figures"]
    assert (inside / path).read_text().rstrip().endswith("</svg>")


def test_an_unknown_figure_lists_the_known(capsys):
    assert main(["figure", "monalisa"]) == 2
    err = capsys.readouterr().err
    assert "fixed-points" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["map", "figure"])
def test_help_exits_0(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code in (0, None)
    assert f"sparsefield {command}" in capsys.readouterr().out
