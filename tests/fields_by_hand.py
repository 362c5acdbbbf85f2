"""Small fields, and how they are compared with what they were or should be."""

import copy

import pytorch_lightning as pl
import torch

from rkdo_plugin import ResponseField

TEMPERATURE = 0.2


def small_field(neighbors, coupling, **options):
    return ResponseField(
        8,
        4,
        neighbors=neighbors,
        coupling=coupling,
        teacher_temperature=TEMPERATURE,
        embedding_dtype=torch.float32,
        **options,
    )


def snapshot(field):
    return {name: value.clone() for name, value in field.named_buffers()}


def assert_untouched(field, before):
    for name, value in field.named_buffers():
        assert torch.equal(value, before[name]), name


def assert_same_field(one, other):
    for (name, value), expected in zip(
        one.state_dict().items(), other.state_dict().values(), strict=True
    ):
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, expected, msg=f"{name} differs")


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
