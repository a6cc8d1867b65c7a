import io
import math

from rich.console import Console

from sparsefield.train.progress import Bar, Lines, Silent, display

ROW = {"step": 20, "epoch": 2, "loss": 1.25, "test_accuracy": 0.5}


def test_off_a_terminal_there_is_one_line_an_evaluation_on_stderr(capsys):
    shown = display(True, step=0, total=40, epochs=4)
    assert isinstance(shown, Lines)
    with shown:
        shown.advance()
        shown.report({**ROW, "test_accuracy": math.nan}, 0.9)
        shown.report(ROW, 0.9)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "epoch 2/4  step 20/40  loss 1.2500  accuracy 0.5000  sparsity 0.900" in err
    assert "s left" in err


def test_on_a_terminal_there_is_a_bar():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with Bar(console, step=19, total=40) as bar:
        bar.advance()
        bar.report(ROW, 0.9)
        bar.note("[a note]")
    text = console.file.getvalue()
    assert "20/40" in text
    assert "loss 1.2500  accuracy 0.5000  sparsity 0.900" in text
    assert "[a note]" in text


def test_silence_is_silent(capsys):
    shown = display(False, step=0, total=1, epochs=1)
    assert type(shown) is Silent
    with shown:
        shown.advance()
        shown.report(ROW, 0.9)
        shown.note("nothing")
    assert capsys.readouterr() == ("", "")
