import pytest
import torch
from runs import train


def weights(folder):
    return torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]


def test_a_finished_run_stays_as_it_is(uninterrupted, settings):
    folder = uninterrupted["simclr"]
    before = weights(folder), (folder / "metrics.csv").read_text()
    with pytest.warns(UserWarning, match="finished already"):
        run = train(out=str(folder), workers=0, resume=True, **settings)
    after = weights(folder), (folder / "metrics.csv").read_text()
    assert before[1] == after[1]
    for name, weight in before[0].items():
        assert torch.equal(weight, after[0][name])
        assert torch.equal(weight, run.recipe.state_dict()[name])


def test_refuses_a_folder_that_holds_something(tmp_path, settings):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="not empty"):
        train(out=str(tmp_path), **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", 1), ("loss", "negative-cosine"), ("epochs", 4), ("recipe", "byol")],
)
def test_refuses_to_resume_with_another_setting(uninterrupted, key, value, settings):
    changed = {**settings, key: value}
    with pytest.raises(ValueError, match=f"its '{key}' is .* but got {value!r}"):
        train(out=str(uninterrupted["simclr"]), resume=True, **changed)


def test_nothing_to_resume(tmp_path, settings):
    with pytest.raises(FileNotFoundError, match="no run's settings"):
        train(out=str(tmp_path / "none"), resume=True, **settings)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("keep", [0, 100, 100_000])
def test_truncated_checkpoint(uninterrupted, tmp_path, keep, settings):
    for name in ("config.yaml", "last.ckpt"):
        content = (uninterrupted["simclr"] / name).read_bytes()
        (tmp_path / name).write_bytes(
            content if name == "config.yaml" else content[:keep]
        )
    with pytest.raises(ValueError, match=r"last\.ckpt is truncated or no checkpoint"):
        train(out=str(tmp_path), resume=True, **settings)


@pytest.mark.parametrize("batch_size", [0, 257])
def test_batch_that_does_not_fit(tmp_path, batch_size, settings):
    changed = {**settings, "batch_size": batch_size}
    with pytest.raises(ValueError, match=f"from 1 to 256, .* but got {batch_size}"):
        train(out=str(tmp_path / "run"), **changed)
    assert not (tmp_path / "run").exists()
