"""The rest of a page: what was tried, what was found, what made it."""

import json

from sparsefield.studies import page, read_record, table

RATES = [{"q": 4.0, "lr": lr} for lr in (1e-3, 3e-3, 1e-2)]


def peak(config, seed):
    """The middle rate is best by a little."""
    return {"test_accuracy": {1e-3: 0.7, 3e-3: 0.8, 1e-2: 0.79}[config["lr"]], "zeros_end": 0.9}


def test_every_value_tried_is_in_the_table_and_the_chosen_one_marked(invented, declared):
    found = table(declared({}), invented(RATES, peak))
    assert found.columns == (
        "",
        "learning rate",
        "test accuracy, %",
        "zeros at the end, %",
        "failed",
    )
    assert [row[:3] for row in found.rows] == [
        ("", "0.001", "70.0 [70.0, 70.0]"),
        ("★", "0.003", "80.0 [80.0, 80.0]"),
        ("", "0.01", "79.0 [79.0, 79.0]"),
    ]


def test_only_what_was_chosen_and_a_value_at_the_edge(invented, declared):
    tables = {"best": {"chosen": True, "columns": ["q", "lr", "test_accuracy"]}}
    (row,) = table(declared({}, tables=tables), invented(RATES[1:], peak), "best").rows
    assert row == ("4", "0.003 (lowest tried)", "80.0 [80.0, 80.0]", "0 of 3")


def test_arms_have_the_names_that_the_study_gives(invented, declared):
    names = [{"name": "fast", "where": {"lr": [3e-3, 1e-2]}}]
    study = declared({}, names=names, tables={"all": {"columns": ["name"]}})
    found = table(study, invented(RATES, peak, tuned=()))
    assert [row[1] for row in found.rows] == ["CReLU", "fast", "fast"]


def test_failures_and_lost_runs_are_counted_in_the_table(invented, declared):
    def measure(config, seed):
        return None if seed == 0 else {**peak(config, seed), "failed": seed == 1}

    (row, *_) = table(declared({}), invented(RATES, measure)).rows
    assert row[-1] == "2 of 3"
    (row, *_) = table(declared({}), invented(RATES, lambda *_: None)).rows
    assert row[2:] == ("none", "none", "3 of 3")


def test_what_made_the_runs_is_on_the_page(made):
    text = made.paths["page"].read_text()
    for name, value in json.loads(made.paths["record"].read_text())["made"]["versions"].items():
        assert f"| {name} | {value[0]} |" in text
    assert "| runs | 9, " in text
    assert "over q 0.25, 4, lr 0.001, 0.01, seed 0, 1 |" in text
    assert text.count("<details>") == text.count("</details>") == 3


def test_setting_and_command(made, tiny):
    found = page(type(tiny)(**{**vars(tiny), "page": "{setting}\n\n{command}\n"}), made.record, "")
    assert found.text.startswith(
        "*data digits; network dnn; depth 3; width 20; optimizer adam, sgd;"
    )
    assert "sparsefield reproduce tiny --scale small --data digits" in found.text


def test_the_same_record_gives_the_same_bytes(made, tiny):
    again = page(tiny, read_record(made.paths["record"]), "tiny.svg")
    assert again.text.encode() == made.paths["page"].read_bytes()


def test_the_mark_is_explained_where_there_is_one(invented, declared):
    def told(**kwargs):
        return page(declared({}, "{table}\n"), invented(RATES, peak, **kwargs), "").text

    assert "(★: chosen by validation)" in told()
    assert "★" not in told(tuned=())


def test_the_figure_says_what_is_drawn(invented, declared):
    def told(**figure):
        return page(declared({}, "{figure}\n", figure=figure), invented(RATES, peak), "a.svg").text

    assert told(alt="Accuracy over q*").startswith(r"![Accuracy over q\*](a.svg)")
    assert told().startswith(f"![{declared({}).title}](a.svg)")


def test_no_interval_of_a_ratio_goes_below_zero(invented, declared):
    def measure(config, seed):
        return {**peak(config, seed), "q_end": 1e4 if seed == 0 else 1.0}

    study = declared({}, tables={"all": {"columns": ["q_end"]}})
    assert " [0.00, " in table(study, invented(RATES, measure)).rows[0][1]
