"""A user's script as a type checker reads it; tox checks it, and nothing runs it."""
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from rkdo_plugin import (
    FieldCallback,
    FieldPairs,
    IConLoss,
    LossHead,
    ResponseField,
    RKDOLoss,
    SwapLoss,
    create_encoder,
    create_loss,
    create_recipe,
    swap_loss,
)
from rkdo_plugin.export import (
    EmbeddingSession,
    Encoder,
    Report,
    export_onnx,
    freeze,
    quantize,
    verify,
    write_triton_repository,
)


class Images(Dataset[tuple[Tensor, int]]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.zeros(3, 32, 32), 0


def views(image: Tensor) -> list[Tensor]:
    return [image, image]


loss: Tensor = IConLoss(temperature=0.2)(torch.ones(4, 8), torch.ones(4, 8))
other: Tensor = RKDOLoss(coupling=0.1)(torch.ones(4, 8), torch.ones(4, 8))
named: nn.Module = create_loss("supcon", temperature=0.1)
field = ResponseField(num_samples=8, dim=16, neighbors=2)
partners: Tensor = field.sample(torch.arange(4))
ids, weights, self_mass = field.target(torch.arange(4))
entropy: Tensor = field.row_entropy()
pairs = FieldPairs(Images(), views, field)
(view0, view1), target, index, partner = pairs[0]
callbacks = [FieldCallback(field, warmup_epochs=1), SwapLoss("icon", temperature=0.2)]
head = LossHead(nn.Linear(8, 8), IConLoss())
recipe = create_recipe("simclr")
encoder: nn.Module = create_encoder("small-convnet")
swap_loss(recipe, IConLoss())
frozen: Encoder = freeze("last.ckpt")
report: Report = export_onnx(frozen, Path("encoder.onnx"), overwrite=True)
if report.passed and verify("encoder.onnx", frozen).passed:
    vectors = EmbeddingSession("encoder.onnx").embed(np.zeros((2, 32, 32, 3), np.uint8))
    share: float = float(vectors.mean())
    quantize("encoder.onnx", "int8.onnx", np.zeros((32, 32, 32, 3), np.uint8))
    write_triton_repository("encoder.onnx", "models")
    quantize("encoder.onnx", "int8.onnx", precision="int7")  # type: ignore[arg-type]
    IConLoss(temperature="hot")  # type: ignore[arg-type]
