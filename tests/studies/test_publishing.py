"""Pages are made of records, byte for byte, and a change in either is found."""

import json
from pathlib import Path

import pytest

from sparsefield.errors import InvalidInput
from sparsefield.studies import (
    differences,
    page,
    publish,
    read,
    read_record,
    study_names,
    write_record,
)
from sparsefield.studies.publishing import documents, same_picture
from sparsefield.studies.questions import FIRST, THEN


@pytest.fixture
def results(made, invented, tmp_path):
    """A folder of records: a study at both scales, and another."""
    folder = tmp_path / "results" / "records"
    folder.mkdir(parents=True)
    measure = lambda config, seed: {"test_accuracy": 0.5 + 0.1 * seed}  # noqa: E731
    arms = [{"q": 1.0, "sparsity": 0.8}, {"q": 4.0, "sparsity": 0.8}]
    for scale in ("small", "paper"):
        record = invented(arms, measure, tuned=(), scale=scale)
        write_record(folder / f"dt26-dnn-{scale}.json", record)
    write_record(folder / "tiny-small.json", made.record)
    return folder.parent


def test_the_same_record_gives_the_same_bytes(made):
    again = read_record(made.record_path)
    assert (
        page([(again, read(again))], {"small": "tiny.svg"}).encode() == made.page_path.read_bytes()
    )


def test_written_once_and_then_as_it_is(results, documentation):
    written = publish(results, documentation)
    assert {str(path.relative_to(documentation)) for path in written} == {
        "results/index.md",
        "results/dt26-dnn.md",
        "results/tiny.md",
        "figures/results-dt26-dnn-small.svg",
        "figures/results-dt26-dnn-paper.svg",
        "figures/results-tiny-small.svg",
    }
    assert differences(results, documentation) == []
    assert publish(results, documentation) == []


def test_a_changed_number_is_found(results, documentation):
    publish(results, documentation)
    path = results / "records" / "dt26-dnn-small.json"
    text = path.read_text()
    path.write_text(text.replace('"test_accuracy": 0.6', '"test_accuracy": 0.63', 1))
    assert path.read_text() != text
    found = differences(results, documentation)
    assert [line.split(": ")[0].rsplit("/", 1)[1] for line in found] == [
        "dt26-dnn.md",
        "results-dt26-dnn-small.svg",
    ]
    assert "differs from what the records say, first in line" in found[0]


def test_a_page_edited_by_hand_is_found(results, documentation):
    publish(results, documentation)
    for name in ("results/index.md", "results/tiny.md", "figures/results-tiny-small.svg"):
        path = documentation / name
        held = path.read_text()
        path.write_text(held.replace("0.25", "0.35").replace("tiny", "huge"))
        assert path.read_text() != held, name
        assert [line.split(":")[0] for line in differences(results, documentation)] == [str(path)]
        path.write_text(held)


def test_what_is_missing_or_without_a_record_is_found(results, documentation):
    publish(results, documentation)
    (documentation / "results" / "tiny.md").unlink()
    (documentation / "results" / "gone.md").write_text("# Gone\n")
    assert differences(results, documentation) == [
        f"{documentation}/results/tiny.md: is missing",
        f"{documentation}/results/gone.md: no record makes it",
    ]


def test_a_page_holds_both_scales_the_papers_first(results, documentation):
    publish(results, documentation)
    text = (documentation / "results" / "dt26-dnn.md").read_text()
    assert text.index("## Scale: paper") < text.index("## Scale: small")
    assert "](../figures/results-dt26-dnn-paper.svg)" in text
    assert "`sparsefield reproduce dt26-dnn --scale paper --data digits`" in text
    index = (documentation / "results" / "index.md").read_text()
    assert index.startswith("# Results\n\nAn introduction.")
    assert "## [A tiny study](tiny.md)" in index


def test_the_findings_stand_where_the_introduction_wants_them(invented, documentation):
    intro = documentation / "results" / "intro.md"
    intro.write_text("# Results\n\nBefore.\n\n<!-- findings -->\n\n## After\n")
    names = ["drift", "unheard-of", *reversed(FIRST)]
    index = documents({name: [small(invented, name)] for name in names}, documentation)
    text = index[Path("results/index.md")].decode()
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == [
        "# Results",
        "## The five findings",
        *(f"### [{FIRST[name]}]({name}.md)".replace("*", r"\*") for name in FIRST),
        "## More findings",
        f"### [{THEN['drift']}](drift.md)",
        "### [Invented](unheard-of.md)",
        "## After",
    ]
    assert text.count("](../figures/results-") == len(names)
    fewer = documents({name: [small(invented, name)] for name in names[:3]}, documentation)
    assert "## Findings\n" in fewer[Path("results/index.md")].decode()  # the twin: not all five


def small(invented, study):
    return invented([{"q": 1.0}, {"q": 4.0}], lambda *_: {"test_accuracy": 0.5}, study=study)


def test_every_question_is_of_a_study():
    assert sorted([*FIRST, *THEN]) == sorted(study_names())
    assert all(text.endswith("?") for text in (*FIRST.values(), *THEN.values()))


def test_no_records_is_an_index_of_nothing(documentation, tmp_path):
    with pytest.raises(
        InvalidInput, match="holds no folder records"
    ):  # a slip, records/ itself say
        publish(tmp_path, documentation)
    (tmp_path / "records").mkdir()
    (written,) = publish(tmp_path, documentation)
    assert written.read_text() == "# Results\n\nAn introduction.\n"


def test_other_files_of_results_are_left_alone(results, documentation):
    (results / "studies").mkdir()
    (results / "studies" / "other.json").write_text("{}")
    publish(results, documentation)
    (results / "records" / "other.json").write_text("{}")  # the twin
    with pytest.raises(InvalidInput, match="other.json: is damaged or no record"):
        publish(results, documentation)


def test_a_record_under_another_name(results, documentation):
    path = results / "records" / "tiny-small.json"
    path.rename(path.with_name("tiny.json"))
    with pytest.raises(InvalidInput, match="name it tiny-small.json"):
        publish(results, documentation)


def test_a_documentation_without_introduction(results, tmp_path):
    with pytest.raises(InvalidInput, match="intro.md: cannot be read"):
        publish(results, tmp_path / "nowhere")


def test_pictures_may_differ_by_rounding_only():
    one = '<path id="p0123456789" d="M 1.0 20.004"/> e'
    assert same_picture(one, one.replace("20.004", "20.003").replace("p0123456789", "pabcdef0123"))
    assert not same_picture(one, one.replace("20.004", "20.104"))
    assert not same_picture(one, one.replace("path", "line"))
    assert not same_picture(one, one + " 1.0")


def test_what_made_the_runs_is_on_the_page(made):
    text = made.page_path.read_text()
    for name, value in json.loads(made.record_path.read_text())["made"]["versions"].items():
        assert f"| {name} | {value[0]} |" in text
    assert "| runs | 9, " in text
    assert "`sparsefield reproduce tiny --scale small --data digits`" in text
    assert "In each arm lr is chosen by validation accuracy." in text
