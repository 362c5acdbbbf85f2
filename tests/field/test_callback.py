import copy
import math

import pytest
import pytorch_lightning as pl
import tiny_recipes
import torch
from lightly.data import LightlyDataset
from lightly.loss import (
    BarlowTwinsLoss,
    NegativeCosineSimilarity,
    NTXentLoss,
    VICRegLoss,
)
from numbered_samples import Numbers, index_of, views
from quiet_trainer import trainer
from tiny_recipes import DIM, History, Recipe, filled_field, loader_of
from torch import nn
from torch.utils.data import DataLoader

from rkdo_plugin import FieldCallback, IConLoss, LossHead, RKDOLoss, SwapLoss

CRITERIA = {
    "ntxent": NTXentLoss,
    "icon": IConLoss,
    "rkdo": RKDOLoss,
    "negative-cosine": NegativeCosineSimilarity,
    "barlow-twins": BarlowTwinsLoss,
}
FORMS = [
    (tiny_recipes.simclr, "ntxent"),
    (tiny_recipes.simclr, "icon"),
    (tiny_recipes.simclr, "rkdo"),
    (tiny_recipes.simclr, "barlow-twins"),
    (tiny_recipes.moco, "ntxent"),
    (tiny_recipes.moco, "icon"),
    (tiny_recipes.byol, "negative-cosine"),
    (tiny_recipes.byol, "rkdo"),
    (tiny_recipes.byol, "icon"),
    (tiny_recipes.simsiam, "negative-cosine"),
    (tiny_recipes.simsiam, "icon"),
    (tiny_recipes.nnclr, "ntxent"),
    (tiny_recipes.nnclr, "rkdo"),
    (tiny_recipes.fastsiam, "negative-cosine"),
    (tiny_recipes.fastsiam, "rkdo"),
]


class Compare(pl.Callback):
    """After each step, the field against one updated by hand with what was noted."""

    def __init__(self, field, batches=1):
        self.field = field
        self.expected = copy.deepcopy(field)
        self.batches = batches  # of a step
        self.pending = []
        self.seen = 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        _, _, i, j = batch
        for view, embeddings in pl_module.noted:
            self.pending += zip((j if view else i).tolist(), embeddings, strict=True)
        pl_module.noted.clear()
        if (batch_idx + 1) % self.batches and not trainer.is_last_batch:
            assert_same_field(self.field, self.expected)
            return
        sums = {}
        for sample, z in self.pending:
            unit = z.double() / z.double().norm()
            sums[sample] = sums.get(sample, 0) + unit
        for sample, total in sums.items():
            torch.testing.assert_close(
                self.field.embeddings[sample].double(),
                total / total.norm(),
                atol=2e-3,  # float16
                rtol=0,
            )
        samples, embeddings = zip(*self.pending, strict=True)
        self.expected.update(torch.tensor(samples), torch.stack(embeddings))
        assert_same_field(self.field, self.expected)
        assert int(self.field.updates) == trainer.global_step
        self.pending.clear()
        self.seen += 1


def assert_same_field(one, other):
    for (name, value), expected in zip(
        one.state_dict().items(), other.state_dict().values(), strict=True
    ):
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, expected, msg=f"{name} differs")


@pytest.mark.parametrize(("form", "criterion"), FORMS)
def test_every_step_stores_the_embeddings_and_moves_the_rows_once(form, criterion):
    field = filled_field()
    compare = Compare(field)
    recipe = Recipe(CRITERIA[criterion](), form)
    count = 4 if form is tiny_recipes.fastsiam else 2
    trainer(FieldCallback(field), compare).fit(recipe, loader_of(field, count))
    assert compare.seen == 6


@pytest.mark.parametrize("form", [tiny_recipes.vicreg, tiny_recipes.vicreg_other_order])
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("swap_first", [False, True])
def test_a_criterion_called_by_keyword(form, swapped, swap_first):
    field = filled_field()
    compare = Compare(field)
    callbacks = [FieldCallback(field), compare]
    if swapped:
        callbacks.insert(0 if swap_first else 1, SwapLoss("icon"))
    trainer(*callbacks).fit(Recipe(VICRegLoss(), form), loader_of(field))
    assert compare.seen == 6


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


class WithIds(nn.Module):
    """A third party's criterion that asks for the samples of its rows."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, z0, z1, sample_ids=None):
        self.seen.append((torch.is_grad_enabled(), sample_ids))
        return (z0 - z1).square().mean()


class AlsoWithoutGradient(Recipe):
    """Calls the criterion without gradient first, and in validation with gradient."""

    def training_step(self, batch, batch_idx):
        with torch.no_grad():
            self.criterion(batch[0][0], batch[0][1])
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        with torch.enable_grad():
            z0, z1 = (self.encoder(view) for view in batch[0])
            self.criterion(z0, z1)


@pytest.mark.parametrize("form", [tiny_recipes.simclr, tiny_recipes.byol])
def test_a_criterion_that_asks_is_told_the_samples(form):
    field = filled_field()
    criterion, batches = WithIds(), []

    class Batches(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            batches.append(batch[2:])

    trainer(FieldCallback(field), Batches()).fit(
        AlsoWithoutGradient(criterion, form), loader_of(field), loader_of(field)
    )
    told = [ids for _, ids in criterion.seen if ids is not None]
    calls = 2 if form is tiny_recipes.byol else 1
    assert len(told) == 6 * calls
    for call, ids in enumerate(told):
        i, j = batches[call // calls]
        expected = (i, j) if call % calls == 0 else (j, i)
        assert all(torch.equal(*pair) for pair in zip(ids, expected, strict=True))


@pytest.mark.parametrize(
    "criterion",
    [
        IConLoss(0.2),
        IConLoss(0.2, candidates="cross", debias=0.1),
        RKDOLoss(),
        RKDOLoss(candidates="all"),
    ],
)
def test_our_criteria_leave_other_copies_out(criterion):
    field = filled_field()
    recipe = Recipe(criterion)
    ids, unmasked = [], []

    class Batches(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            ids.append(tuple(batch[2:]))

    trainer(FieldCallback(field), Batches()).fit(recipe, loader_of(field, batch_size=6))
    for step, loss in enumerate(recipe.losses):
        z0, z1 = (z for _, z in recipe.noted[2 * step :][:2])
        # tests/supervision/test_comparison.py compares these with naive loops.
        assert loss == pytest.approx(criterion(z0, z1, sample_ids=ids[step]).item())
        unmasked.append(criterion(z0, z1).item())
    assert recipe.losses != pytest.approx(unmasked)


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


def test_the_coupling_goes_along_a_cosine_and_the_field_keeps_its_own():
    field = filled_field(coupling=0.8)
    seen, history = [], History()
    update = field.update

    def watched(index, embeddings, coupling):
        seen.append(coupling)
        update(index, embeddings, coupling)

    field.update = watched
    trainer(FieldCallback(field, final_coupling=0.2), logger=history).fit(
        Recipe(NTXentLoss()), loader_of(field)
    )
    expected = [0.2 + 0.3 * (1 + math.cos(math.pi * t / 6)) for t in range(1, 7)]
    assert seen == pytest.approx(expected)
    assert history.values["field/coupling"] == pytest.approx([expected[2], 0.2])
    assert field.coupling == 0.8


class Viewed(Numbers):
    """As torchvision's data sets, whose `transform` Lightly sets."""

    transform = None

    def __getitem__(self, index):
        image, target = super().__getitem__(index)
        return self.transform(image), target


def test_lightly_dataset_with_its_own_index():
    field = filled_field()
    data = LightlyDataset.from_torch_dataset(
        Viewed(12), transform=views(), index_to_filename=index_of
    )
    recipe = Recipe(NTXentLoss())
    history = History()
    trainer(FieldCallback(field), max_epochs=1, logger=history).fit(
        recipe, DataLoader(data, batch_size=12)
    )
    (_, z0), (_, z1) = recipe.noted
    expected = nn.functional.normalize(
        nn.functional.normalize(z0) + nn.functional.normalize(z1)
    )
    torch.testing.assert_close(field.embeddings, expected.half())
    assert history.values["field/sampled"] == [0]


@pytest.mark.parametrize(
    ("samples", "got"),
    [
        ([(views()([n]), 0) for n in range(8)], r"\(list of 2 Tensor, int64 tensor"),
        ([(views()([n]), 0, str(n)) for n in range(8)], "tuple of 4 str"),
        ([(views()([n]), 0, n / 2) for n in range(8)], r"float64 tensor \(4,\)"),
        ([torch.zeros(3)] * 8, r"gave \(float32 tensor \(4, 3\)\)"),
    ],
)
def test_batches_without_index_are_refused(samples, got):
    recipe = Recipe(NTXentLoss())
    with pytest.raises(TypeError, match=f"{got}.*: wrap its data set in FieldPairs"):
        trainer(FieldCallback(filled_field())).fit(
            recipe, DataLoader(samples, batch_size=4)
        )
    assert not recipe.criterion._forward_hooks


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


def thrice(recipe, z, p):
    return sum(recipe.criterion(*z) for _ in range(3))


def detached(recipe, z, p):
    recipe.criterion(z[0].detach(), z[1].detach())
    return p[0].sum()


def in_lists(recipe, z, p):
    return recipe.criterion(list(z), list(z))


def of_one(recipe, z, p):
    return recipe.criterion(z[0])


class Any(nn.Module):
    def forward(self, *args):
        return sum(z.sum() for arg in args for z in arg)


@pytest.mark.parametrize(
    ("form", "criterion", "error", "message"),
    [
        (thrice, NTXentLoss(), RuntimeError, "at most 2 calls .* but got call 3"),
        (detached, NTXentLoss(), RuntimeError, "embeddings that carry gradient"),
        (in_lists, Any(), TypeError, r"two tensors \(B, D\).*got \(list, list\)"),
        (of_one, Any(), TypeError, r"two tensors \(B, D\).*got \(tensor \(4, 4\)\)"),
    ],
)
def test_other_calls_are_refused(form, criterion, error, message):
    field = filled_field()
    with pytest.raises(error, match=message):
        trainer(FieldCallback(field)).fit(Recipe(criterion, form), loader_of(field))


@pytest.mark.parametrize("attribute", ["loss", "losses", "criterion.loss"])
def test_a_recipe_without_criterion_is_refused(attribute):
    field = filled_field()
    with pytest.raises(AttributeError, match=rf"Recipe\.{attribute} to be the crit"):
        trainer(FieldCallback(field, attribute=attribute)).fit(
            Recipe(NTXentLoss()), loader_of(field)
        )


def with_loss_head(recipe, z, p):
    projected = [recipe.criterion.projection(view) for view in z]
    recipe.note(0, projected)
    recipe.note(1, projected)
    return recipe.criterion(*z)


def test_a_loss_heads_projections_are_stored():
    field = filled_field()
    compare = Compare(field)
    recipe = Recipe(LossHead(nn.Linear(DIM, DIM), IConLoss()), with_loss_head)
    trainer(FieldCallback(field, attribute="criterion.criterion"), compare).fit(
        recipe, loader_of(field)
    )
    assert compare.seen == 6


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


@pytest.mark.parametrize("whole", [False, True])
def test_compiled_criteria_and_recipes(whole):
    field = filled_field()
    compare = Compare(field)
    recipe = Recipe(WithIds(), tiny_recipes.byol)
    if not whole:
        recipe.criterion = torch.compile(recipe.criterion, backend="eager")
    trainer(FieldCallback(field), compare).fit(
        torch.compile(recipe, backend="eager") if whole else recipe, loader_of(field)
    )
    assert compare.seen == 6
    inner = recipe.criterion if whole else recipe.criterion._orig_mod
    assert all(ids is not None for _, ids in inner.seen)


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
