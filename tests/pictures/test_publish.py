"""Pages are made of records, byte for byte, and a change in either is found."""

import json
import shutil
from pathlib import Path

import pytest

from sparsefield.errors import InvalidInput
from sparsefield.pictures.publish import ORDER, differences, publish, same_picture
from sparsefield.studies import study, study_names

pytest.importorskip("matplotlib")
ROOT = Path(__file__).parents[2]
NAMES = ("dt26-cnn", "frontier")


@pytest.fixture
def results(tmp_path):
    """A folder with the records of two studies."""
    folder = tmp_path / "results" / "records"
    folder.mkdir(parents=True)
    for name in NAMES:
        shutil.copy(ROOT / "results" / "records" / f"{name}-small.json", folder)
    return folder.parent


@pytest.fixture
def documentation(tmp_path):
    """An empty documentation with its introduction."""
    folder = tmp_path / "docs" / "results"
    folder.mkdir(parents=True)
    (folder / "intro.md").write_text("# Results\n\nBefore.\n\n<!-- findings -->\n\n## After\n")
    return folder.parent


def change(path, **measures):
    """Change measures of every run of a record."""
    content = json.loads(path.read_text())
    for run in content["runs"]:
        run.update({name: value(run) for name, value in measures.items()})
    path.write_text(json.dumps(content))


def test_written_once_and_then_as_it_is(results, documentation):
    written = {str(path.relative_to(documentation)) for path in publish(results, documentation)}
    assert written == {"results/index.md"} | {
        made
        for name in NAMES
        for made in (f"results/{name}.md", f"figures/results-{name}-small.svg")
    }
    assert differences(results, documentation) == []
    assert publish(results, documentation) == []


def test_the_index_has_questions_answers_and_pictures(results, documentation):
    publish(results, documentation)
    text = (documentation / "results" / "index.md").read_text()
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == [
        *("# Results", "## The five findings", f"### [{study('frontier').question}](frontier.md)"),
        *("## Five more", f"### [{study('dt26-cnn').question}](dt26-cnn.md)".replace("*", r"\*")),
        "## After",
    ]
    for name in NAMES:
        answer = (documentation / "results" / f"{name}.md").read_text().split("\n\n")[1]
        assert answer in text
    assert text.count("](../figures/results-") == 1
    assert text.index("## After") < text.index("{toctree}")
    assert sorted(name for names in ORDER.values() for name in names) == [
        name for name in study_names() if name != "demo"
    ]


def test_a_changed_number_is_found(results, documentation):
    publish(results, documentation)
    change(
        results / "records" / "frontier-small.json", zeros_end=lambda run: run["zeros_end"] - 0.01
    )
    found = differences(results, documentation)
    changed = ["index.md", "frontier.md", "results-frontier-small.svg"]
    assert [Path(line.split(": ")[0]).name for line in found] == changed
    assert "differs from what the records say, first in line" in found[0]


def test_an_effect_turned_round_fails_the_build_and_writes_nothing(results, documentation):
    def turned(run):
        return run["test_accuracy"] + 0.3 * (run["q"] > 1)

    path = results / "records" / "dt26-cnn-small.json"
    change(path, test_accuracy=turned)
    for call in (publish, differences):
        with pytest.raises(
            InvalidInput, match="page dt26-cnn: effect q: the page says falls q, nes"
        ):
            call(results, documentation)
    assert {path.name for path in documentation.rglob("*.*")} == {"intro.md"}


def test_an_effect_that_the_record_lacks_fails_the_build(results, documentation):
    path = results / "records" / "dt26-cnn-small.json"
    content = json.loads(path.read_text())
    content["runs"] = [run for run in content["runs"] if run["q"] == 1]
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidInput, match="effect q: the page says .*, the record missing q"):
        publish(results, documentation)


def test_a_page_edited_by_hand_is_found(results, documentation):
    publish(results, documentation)
    for name in ("results/index.md", "results/frontier.md", "figures/results-frontier-small.svg"):
        path = documentation / name
        held = path.read_text()
        path.write_text(held.replace("frontier", "border").replace("<svg", "<gvs"))
        assert path.read_text() != held, name
        assert [line.split(":")[0] for line in differences(results, documentation)] == [str(path)]
        path.write_text(held)


def test_what_is_missing_or_without_a_record_is_found(results, documentation):
    publish(results, documentation)
    (documentation / "results" / "frontier.md").unlink()
    (documentation / "results" / "gone.md").write_text("# Gone\n")
    assert differences(results, documentation) == [
        f"{documentation}/results/frontier.md: is missing",
        f"{documentation}/results/gone.md: no record makes it",
    ]


def test_no_records_is_an_index_of_nothing(documentation, tmp_path):
    with pytest.raises(InvalidInput, match="holds no folder records"):  # a slip: records/ itself
        publish(tmp_path, documentation)
    (tmp_path / "records").mkdir()
    (written,) = publish(tmp_path, documentation)
    assert written.read_text() == "# Results\n\nBefore.\n\n## After\n"


def test_other_files_of_results_are_left_alone(results, documentation):
    (results / "other.json").write_text("{}")
    publish(results, documentation)
    (results / "records" / "other.json").write_text("{}")  # the twin
    with pytest.raises(InvalidInput, match="other.json: is damaged or no record"):
        publish(results, documentation)


def test_a_record_under_another_name(results, documentation):
    path = results / "records" / "frontier-small.json"
    path.rename(path.with_name("front.json"))
    with pytest.raises(InvalidInput, match="name it frontier-small.json"):
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
