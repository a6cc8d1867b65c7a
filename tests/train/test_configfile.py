import pytest

from sparsefield.errors import InvalidInput
from sparsefield.train import TrainConfig, load_config
from sparsefield.train.configfile import differences, dump_config


def write(folder, text):
    path = folder / "run.yaml"
    path.write_text(text)
    return path


def test_no_file_is_all_defaults():
    assert load_config() == TrainConfig()


def test_overrides_lie_over_the_file(tmp_path):
    path = write(tmp_path, "depth: 5\nwidth: 50\nlr: 1e-3\n")
    config = load_config(path, {"width": 60})
    assert (config.depth, config.width, config.lr) == (5, 60, 1e-3)


@pytest.mark.parametrize("name", ["m", "slope"])
def test_overriding_the_clip_height_replaces_the_files_choice(tmp_path, name):
    path = write(tmp_path, dump_config(TrainConfig().resolved()))
    config = load_config(path, {name: 0.6})
    assert config.clip is None
    assert getattr(config, name) == 0.6


def test_another_family_or_penalty_leaves_nothing_of_the_old_one(tmp_path):
    file = TrainConfig(penalty="l1", penalty_weight=0.5).resolved()
    path = write(tmp_path, dump_config(file))
    other = load_config(path, {"family": "topk", "penalty": "none"})
    assert (other.clip, other.penalty_weight) == (None, None)
    assert load_config(path, {"penalty": "hoyer"}).penalty_weight == 0.5


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(),
        TrainConfig(network="cnn", strides=(1, 2), weights="delta", m=1 / 3).resolved(),
        TrainConfig(family="st", lr=1e-7, q=1e12),
        TrainConfig(family="topk", penalty="hoyer", penalty_weight=0.3).resolved(),
    ],
)
def test_a_config_survives_its_own_yaml(tmp_path, config):
    assert load_config(write(tmp_path, dump_config(config))) == config


def test_the_yaml_names_every_field():
    lines = dump_config(TrainConfig()).splitlines()
    assert [line.split(":")[0] for line in lines] == list(TrainConfig.model_fields)


def test_an_empty_file_is_all_defaults(tmp_path):
    assert load_config(write(tmp_path, "# nothing yet\n")) == TrainConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sparcity: 0.9", "unknown key 'sparcity': .* did you mean 'sparsity'"),
        ("depth: many", "depth='many': should be a valid integer"),
        ("depth: [1]", r"depth=\[1\]: should be a valid integer"),
        ("- depth", "holds a list, not a mapping of field names; write"),
        ("depth", "holds a str, not a mapping"),
        ("1: 2", "holds a dict, not a mapping of field names"),
        ("depth: [", "not valid YAML"),
        ("x: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("clip: 1\nm: 2", "clip=1 and m=2"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(InvalidInput, match=message) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_directory(tmp_path):
    with pytest.raises(InvalidInput, match="there is no such file; give the path"):
        load_config(tmp_path / "absent.yaml")
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_config(tmp_path)


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="not valid YAML"):
        load_config(path)


def test_differences_are_named():
    assert differences(TrainConfig(), TrainConfig(depth=3, lr=1.0)) == ["depth", "lr"]
    assert differences(TrainConfig(), TrainConfig()) == []
