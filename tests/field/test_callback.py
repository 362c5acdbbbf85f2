"""A run's field, whatever the run does."""

import copy
import math
import re
import warnings

import pytest
import pytorch_lightning as pl
import tiny_recipes
import torch
from fields_by_hand import Compare, assert_same_field
from lightly.loss import NegativeCosineSimilarity, NTXentLoss
from numbered_samples import views
from quiet_trainer import trainer
from tiny_recipes import (
    DIM,
    AlsoWithoutGradient,
    History,
    Recipe,
    filled_field,
    loader_of,
)
from torch.utils.data import DataLoader

from rkdo_plugin import FieldCallback, IConLoss


@pytest.mark.parametrize(("size", "steps"), [(4, 4), (5, 4)])
def test_accumulated_batches_are_committed_with_their_step(size, steps):
    field = filled_field()
    compare = Compare(field, batches=2)
    trainer(FieldCallback(field), compare, accumulate_grad_batches=2).fit(
        Recipe(NTXentLoss()), loader_of(field, batch_size=size)
    )
    assert compare.seen == steps


class Manual(Recipe):
    """Two optimizers a step, and two steps in three batches."""

    automatic_optimization = False

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        optimizers = self.optimizers()
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(loss)
        if batch_idx != 0:
            for optimizer in optimizers:
                optimizer.step()

    def configure_optimizers(self):
        return [
            torch.optim.SGD(part.parameters(), 0.01)
            for part in (self.encoder, self.head)
        ]


def test_several_optimizers_make_one_update():
    field = filled_field()
    updates = []

    class Count(pl.Callback):
        def on_train_batch_end(self, *args):
            updates.append(int(field.updates))

    trainer(FieldCallback(field), Count()).fit(Manual(NTXentLoss()), loader_of(field))
    assert updates == [0, 1, 2, 2, 3, 4]


class Skipping(Recipe):
    """Drops the loss of every second batch; of one its criterion is not called."""

    def training_step(self, batch, batch_idx):
        if batch_idx == 2:
            return None
        loss = super().training_step(batch, batch_idx)
        if batch_idx == 1:
            del self.noted[-2:]
            return None
        return loss


def test_a_batch_whose_loss_is_dropped_is_not_stored():
    field = filled_field()
    expected = copy.deepcopy(field)
    recipe = Skipping(NTXentLoss())
    batches = []

    class First(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if batch_idx == 0:
                batches.append(batch)

    trainer(FieldCallback(field), First(), max_epochs=1).fit(recipe, loader_of(field))
    _, _, i, j = batches[0]
    embeddings = torch.cat([z for _, z in recipe.noted])
    expected.update(torch.cat([i, j]), embeddings)
    assert_same_field(field, expected)


@pytest.mark.parametrize("interval", [1.0, 1])
def test_validation_changes_nothing(interval):
    pairs = loader_of(filled_field()).dataset
    training = DataLoader([pairs[i, (i + 1) % 12] for i in range(12)], batch_size=4)
    validation = DataLoader([(views()([i]), 0) for i in range(8)], batch_size=4)

    def run(*loaders):
        field = filled_field()
        trainer(FieldCallback(field), val_check_interval=interval).fit(
            AlsoWithoutGradient(IConLoss()), training, *loaders
        )
        return field

    assert_same_field(run(), run(validation))


class Partners(pl.Callback):
    """Share of samples with another as partner, and state at the end of each epoch."""

    def __init__(self, field):
        self.field = field
        self.sampled, self.self_mass = [], []

    def on_train_epoch_start(self, trainer, pl_module):
        self.moved = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.moved += (batch[2] != batch[3]).tolist()

    def on_train_epoch_end(self, trainer, pl_module):
        self.sampled.append(sum(self.moved) / len(self.moved))
        self.self_mass.append(self.field.self_mass.mean().item())


@pytest.mark.parametrize("workers", [0, 1])
def test_warmup_fills_the_rows_in_its_last_epoch_and_draws_partners_after(workers):
    field = tiny_recipes.ResponseField(
        12, DIM, neighbors=2, field_weight=1.0, coupling=1.0
    )
    partners, history = Partners(field), History()
    options = {"num_workers": workers, "persistent_workers": workers > 0}
    trainer(
        FieldCallback(field, warmup_epochs=2), partners, max_epochs=4, logger=history
    ).fit(Recipe(NTXentLoss()), loader_of(field, **options))
    assert partners.sampled == [0, 0, 1, 1]
    assert partners.self_mass == [1, 0, 0, 0]
    assert history.values["field/sampled"] == partners.sampled
    assert history.values["field/self_mass"] == partners.self_mass
    assert history.values["field/coupling"] == [0, 1, 1, 1]
    assert history.values["field_trust"][-1] == field.trust
    assert history.values["field/row_entropy"][0] == 0
    assert history.values["field/row_entropy"][-1] == pytest.approx(
        field.row_entropy().mean().item()
    )


def test_a_second_fit_warms_up_again():
    field = filled_field()
    callback, partners = FieldCallback(field, warmup_epochs=1), Partners(field)
    for _ in range(2):
        trainer(callback, partners).fit(Recipe(NTXentLoss()), loader_of(field))
    assert [share > 0 for share in partners.sampled] == [False, True, False, True]
    # One more epoch with the same trainer: it goes on.
    last = trainer(callback, partners)
    last.fit(Recipe(NTXentLoss()), loader_of(field))
    last.fit_loop.max_epochs = 3
    last.fit(Recipe(NTXentLoss()), loader_of(field))
    assert [share > 0 for share in partners.sampled[4:]] == [False, True, True]


@pytest.mark.parametrize(
    ("recipe", "steps"),
    # Two optimizers make two steps of a batch: all are done before the run ends.
    [(Recipe, [1, 2, 3, 4, 5, 6]), (Manual, [2, 4, 6, 6])],
)
def test_the_coupling_goes_along_a_cosine_and_the_field_keeps_its_own(recipe, steps):
    field = filled_field(coupling=0.8)
    seen, history = [], History()
    update = field.update

    def watched(index, embeddings, coupling):
        seen.append(coupling)
        update(index, embeddings, coupling)

    field.update = watched
    trainer(FieldCallback(field, final_coupling=0.2), logger=history).fit(
        recipe(NTXentLoss()), loader_of(field)
    )
    expected = [0.2 + 0.3 * (1 + math.cos(math.pi * t / 6)) for t in steps]
    assert seen == pytest.approx(expected)
    middle = expected[len(steps) // 2 - 1]
    assert history.values["field/coupling"] == pytest.approx([middle, 0.2])
    assert field.coupling == 0.8


class Diverging(Recipe):
    def training_step(self, batch, batch_idx):
        if self.trainer.global_step == 2:
            self.encoder.bias.data.fill_(float("nan"))
        return super().training_step(batch, batch_idx)


class Snapshot(pl.Callback):
    def __init__(self, field):
        self.field = field

    def on_train_batch_start(self, *args):
        self.state = copy.deepcopy(self.field.state_dict())


def test_embeddings_that_are_not_finite_stop_training_and_leave_the_field():
    field = filled_field()
    snapshot, recipe = Snapshot(field), Diverging(NegativeCosineSimilarity())
    with pytest.raises(ValueError, match="`embeddings` to be finite but got nan"):
        trainer(FieldCallback(field, final_coupling=0.1), snapshot).fit(
            recipe, loader_of(field)
        )
    assert int(field.updates) == 2
    assert field.coupling == 0.5
    for name, value in field.state_dict().items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, snapshot.state[name])
    assert not recipe.criterion._forward_hooks
    assert not recipe.criterion._forward_pre_hooks


@pytest.mark.parametrize("attribute", ["loss", "losses", "criterion.loss"])
def test_a_recipe_without_criterion_is_refused(attribute):
    field = filled_field()
    with pytest.raises(AttributeError, match=rf"Recipe\.{attribute} to be the crit"):
        trainer(FieldCallback(field, attribute=attribute)).fit(
            Recipe(NTXentLoss()), loader_of(field)
        )


@pytest.mark.parametrize("options", [{"warmup_epochs": -1}, {"final_coupling": 1.5}])
def test_options_outside_their_range_are_refused(options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}`"):
        FieldCallback(filled_field(), **options)


@pytest.fixture
def checkpoint(tmp_path):
    """Of one epoch with a field."""
    field = filled_field()
    first = trainer(FieldCallback(field), max_epochs=1)
    first.fit(Recipe(NTXentLoss()), loader_of(field))
    first.save_checkpoint(tmp_path / "one.ckpt")
    return tmp_path / "one.ckpt", field


def resume(field, path):
    trainer(FieldCallback(field)).fit(
        Recipe(NTXentLoss()), loader_of(field), ckpt_path=path
    )


def test_a_checkpoint_restores_the_field_where_pairs_see_it(checkpoint):
    path, saved = checkpoint
    field = filled_field()
    loader = loader_of(field)
    run = trainer(FieldCallback(field), max_epochs=1)  # finished already
    run.fit(Recipe(NTXentLoss()), loader, ckpt_path=path)
    assert_same_field(field, saved)
    assert torch.equal(loader.dataset.rows.ids, saved.ids)


def test_a_checkpoint_of_another_length_is_refused(checkpoint):
    with pytest.raises(ValueError, match=r"num_samples.*16.*12"):
        resume(filled_field(16), checkpoint[0])


def test_a_checkpoint_of_other_data_is_refused(checkpoint):
    field = filled_field()
    field.fingerprint = "of other images"
    with pytest.raises(ValueError, match="data set is another"):
        trainer(FieldCallback(field)).fit(
            Recipe(NTXentLoss()), DataLoader([0]), ckpt_path=checkpoint[0]
        )


def test_a_checkpoint_of_a_newer_version_is_refused(checkpoint):
    path, _ = checkpoint
    saved = torch.load(path, weights_only=True)
    saved["callbacks"]["FieldCallback"]["field"]["_extra_state"]["format"] += 1
    torch.save(saved, path)
    with pytest.raises(ValueError, match="newer version of rkdo-plugin"):
        resume(filled_field(), path)


def test_half_precision():
    field = filled_field()
    compare = Compare(field)
    trainer(FieldCallback(field), compare, precision="bf16-mixed").fit(
        Recipe(IConLoss()), loader_of(field)
    )
    assert compare.seen == 6


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_run_is_where_its_warmup_was(tmp_path, workers):
    shares = []
    for epochs in (1, 2, 3):
        field = tiny_recipes.ResponseField(12, DIM, neighbors=2, field_weight=1.0)
        field.coupling = 1.0
        partners = Partners(field)
        run = trainer(
            FieldCallback(field, warmup_epochs=2), partners, max_epochs=epochs
        )
        run.fit(
            Recipe(NTXentLoss()),
            loader_of(field, num_workers=workers),
            ckpt_path=None if epochs == 1 else tmp_path / "last.ckpt",
        )
        run.save_checkpoint(tmp_path / "last.ckpt")
        shares += partners.sampled
    assert shares == [0, 0, 1]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_weight_of_auto_begins_with_the_evidence_and_goes_on_when_resumed(
    tmp_path, workers
):
    for epochs in (1, 2, 3):
        field = tiny_recipes.ResponseField(12, DIM, neighbors=2, field_weight="auto")
        field.coupling = 0.0
        field.initialize(torch.eye(12)[torch.arange(12) // 3 * 3] + 0.1 * torch.eye(12))
        run = trainer(FieldCallback(field), max_epochs=epochs)
        run.fit(
            Recipe(NTXentLoss()),
            loader_of(field, num_workers=workers),
            ckpt_path=None if epochs == 1 else tmp_path / "last.ckpt",
        )
        run.save_checkpoint(tmp_path / "last.ckpt")
        assert field.active_weight == pytest.approx(field.trust)
        # A pass is compared with the one before.
        assert bool(field.evidence.nearer[2]) == (epochs > 1)


@pytest.mark.parametrize(
    ("features", "weight", "message"),
    [
        (None, "auto", "it was given no neighbours: no partners are drawn"),
        (torch.zeros(12, 3), "auto", "it was given no neighbours"),
        ("hubs", "auto", r"only 10% of its given edges are returned"),
        (None, 0.5, None),
    ],
)
def test_a_weight_of_auto_that_follows_nothing_says_so(features, weight, message):
    field = tiny_recipes.ResponseField(12, DIM, neighbors=2, field_weight=weight)
    if isinstance(features, torch.Tensor):
        field.initialize(features)
    elif features == "hubs":
        field.evidence.returned.fill_(0.1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer(FieldCallback(field), max_epochs=1).fit(
            Recipe(NTXentLoss()), loader_of(field)
        )
    said = [str(w.message) for w in caught if "weight is auto" in str(w.message)]
    assert len(said) == (message is not None)
    assert message is None or re.search(message, said[0])
