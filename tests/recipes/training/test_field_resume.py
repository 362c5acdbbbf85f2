"""A run with a response field, interrupted anywhere, equals one that never was."""

import csv

import pytest
import pytorch_lightning as pl
import torch
from runs import CtrlC, assert_equal, saved, train, weights

FIELDS = {
    # One epoch of warm-up, whose rows are filled from the first step on.
    "one-hot": {"field": "one-hot", "field_options": {"warmup_epochs": 1}},
    "pixels": {
        "field": "pixels",
        "field_options": {"coupling": 0.3, "final_coupling": 0.05},
    },
    "log-linear": {
        "field": "pixels",
        "field_options": {"coupling": 0.3, "mixture": "log-linear"},
    },
    "sampled": {
        "field": "one-hot",
        "field_options": {"warmup_epochs": 2, "search": "sampled", "field_weight": 1.0},
    },
}


class Partners(pl.Callback):
    """The samples and their partners of every step."""

    def __init__(self):
        self.drawn = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.drawn[trainer.global_step] = batch[2].tolist(), batch[3].tolist()


@pytest.fixture(scope="module")
def whole(tmp_path_factory, settings):
    """Folder and partners of an uninterrupted run, made once for each name."""
    runs = {}

    def run(recipe, name):
        if (recipe, name) not in runs:
            folder, partners = tmp_path_factory.mktemp(name), Partners()
            train(
                recipe,
                out=str(folder),
                workers=0,
                callbacks=[partners],
                **FIELDS[name],
                **settings,
            )
            runs[recipe, name] = folder, partners.drawn
        return runs[recipe, name]

    return run


def read_metrics(folder):
    """Every logged value by step; the order of the columns may differ."""
    found = {}
    with (folder / "metrics.csv").open() as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                if value:
                    found.setdefault(int(row["step"]), {})[name] = value
    return found


def assert_same_run(folder, other):
    one, two = saved(folder), saved(other)
    assert one["global_step"] == 12
    for part in ("global_step", "epoch", "state_dict", "loader", "lr_schedulers"):
        assert_equal(one[part], two[part])
    assert_equal(
        one["optimizer_states"][0]["state"], two["optimizer_states"][0]["state"]
    )
    assert_equal(one["callbacks"]["FieldCallback"], two["callbacks"]["FieldCallback"])
    assert read_metrics(folder) == read_metrics(other)


@pytest.mark.parametrize(
    ("recipe", "name", "steps", "workers"),
    [
        ("simclr", "one-hot", [0], [0, 0]),  # within the warm-up
        ("simclr", "one-hot", [3], [0, 2]),  # in the last step of the warm-up
        ("simclr", "one-hot", [5], [2, 2]),  # within an epoch
        ("simclr", "pixels", [6], [2, 0]),
        ("simclr", "pixels", [2, 7, 9], [0, 0, 0, 2]),  # thrice
        ("simclr", "log-linear", [5], [0, 0]),
        ("simclr", "sampled", [5], [0, 0]),  # between filling and following the rows
        ("simclr", "sampled", [11], [0, 0]),  # in the last step of the run
        ("byol", "pixels", [9], [2, 2]),
    ],
)
def test_interrupted_and_resumed_equals_uninterrupted(
    whole, tmp_path, settings, recipe, name, steps, workers
):
    drawn = {}
    for part, step in enumerate([*steps, None]):
        partners = Partners()
        run = {
            "recipe": recipe,
            "out": str(tmp_path),
            "workers": workers[part],
            "resume": part > 0,
            **FIELDS[name],
            **settings,
        }
        if step is None:
            train(callbacks=[partners], **run)
        else:
            with pytest.raises(KeyboardInterrupt, match=f"after step {step + 1} of 12"):
                train(callbacks=[partners, CtrlC(step)], **run)
        drawn |= partners.drawn
    folder, expected = whole(recipe, name)
    assert drawn == expected
    assert_same_run(folder, tmp_path)


def test_a_field_that_never_moves_leaves_the_run_as_it_was(
    uninterrupted, tmp_path, settings
):
    options = {"coupling": 0.0, "warmup_epochs": 0, "field_weight": 1.0}
    for recipe, folder in uninterrupted.items():
        out = tmp_path / recipe
        train(
            recipe,
            out=str(out),
            workers=0,
            field="one-hot",
            field_options=options,
            **settings,
        )
        assert_equal(weights(folder), weights(out))


def test_a_checkpoint_from_before_there_was_a_field_resumes(
    uninterrupted, tmp_path, settings
):
    with pytest.raises(KeyboardInterrupt):
        train(out=str(tmp_path), workers=0, callbacks=[CtrlC(5)], **settings)
    checkpoint = saved(tmp_path)
    del checkpoint["loader"]
    loops = checkpoint["loops"]["fit_loop"]["state_dict"]
    loops["combined_loader"] = [{"step": 6}]
    torch.save(checkpoint, tmp_path / "last.ckpt")
    config = tmp_path / "config.yaml"
    lines = config.read_text().splitlines()
    config.write_text("\n".join(line for line in lines if "field" not in line))
    train(out=str(tmp_path), workers=0, resume=True, **settings)
    assert_equal(weights(uninterrupted["simclr"]), weights(tmp_path))


def test_a_run_with_another_field_is_not_resumed(whole, settings):
    folder, _ = whole("simclr", "pixels")
    with pytest.raises(ValueError, match="its 'field' is 'pixels' but got 'hog'"):
        train(out=str(folder), resume=True, field="hog", **settings)
