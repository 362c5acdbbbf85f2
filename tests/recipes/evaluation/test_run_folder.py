from itertools import pairwise

import pytest
from runs import train

from rkdo_plugin.recipes.evaluation.run_folder import read_config


def test_refuses_a_folder_that_holds_something(tmp_path, settings):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="in it with `resume`"):
        train(out=str(tmp_path), **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("recipe", "key", "value"),
    [
        ("simclr", "seed", 1),
        ("simclr", "loss", "negative-cosine"),
        ("simclr", "epochs", 4),
        ("simclr", "recipe", "byol"),
        ("byol", "recipe", "moco"),
        ("byol", "loss", "icon"),
        ("byol", "encoder", "wide-convnet"),
        ("byol", "augment", "batches"),
        ("byol", "accumulate", 2),
        ("byol", "recipe_options", {"optimizer": "sgd"}),
    ],
)
def test_refuses_to_resume_with_another_setting(
    uninterrupted, recipe, key, value, settings
):
    folder = uninterrupted[recipe]
    before = (folder / "last.ckpt").read_bytes()
    changed = {"recipe": recipe, **settings, key: value}
    with pytest.raises(ValueError, match=f"its '{key}' is .* but got {value!r}"):
        train(out=str(folder), resume=True, **changed)
    assert (folder / "last.ckpt").read_bytes() == before


def test_settings_are_compared_before_the_data_is_read(uninterrupted, settings):
    folder = uninterrupted["simclr"]
    message = f"its 'data' is 'digits' but got 'none'; .* `weights` {folder}"
    with pytest.raises(ValueError, match=message):
        train(data="none", out=str(folder), resume=True, **settings)


def test_nothing_to_resume(tmp_path, settings):
    with pytest.raises(FileNotFoundError, match=r"a run's settings at .* no such file"):
        train(out=str(tmp_path / "none"), resume=True, **settings)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("keep", [0, 100, 100_000])
def test_truncated_checkpoint(uninterrupted, tmp_path, keep, settings):
    for name in ("config.yaml", "last.ckpt"):
        content = (uninterrupted["simclr"] / name).read_bytes()
        (tmp_path / name).write_bytes(
            content if name == "config.yaml" else content[:keep]
        )
    with pytest.raises(ValueError, match=r"last\.ckpt but it"):
        train(out=str(tmp_path), resume=True, **settings)


BOMB = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in pairwise("abcdefghij")
)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"data: [", "to be YAML but got: while parsing"),
        (b"data: \xff", "to be YAML but got: 'utf-8'"),
        (b"[" * 2000, "to be YAML but got: maximum recursion"),
        (b"data: !!python/object/apply:os.system [x]", "to be YAML but got: could not"),
        (b"1: 2", "to hold settings, name: value"),
        (b"a: &l {b: *l}", "to hold at most 10,000 values"),
        (BOMB.encode(), "to hold at most 10,000 values"),
    ],
)
def test_settings_that_are_none(tmp_path, content, match):
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=rf"config\.yaml {match}"):
        read_config(tmp_path / "config.yaml")
