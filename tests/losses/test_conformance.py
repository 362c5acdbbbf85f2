import json
from pathlib import Path

import oracles
import pytest
import torch
from torch import nn

from rkdo_plugin import IConLoss, RKDOLoss

CASES = json.loads(
    (Path(__file__).parents[1] / "conformance/rkdo_icon_in_batch.json").read_text()
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"case{case['lcg_seed']}")
@pytest.mark.parametrize("method", ["RKDO", "ICon"])
def test_losses_and_gradients_are_those_of_the_published_formulas(case, method):
    z0, z1 = oracles.lcg_views(case["lcg_seed"], case["batch"], case["dim"])
    z0.requires_grad_()
    z1.requires_grad_()
    views = z0, z1
    if method == "RKDO":
        criterion: nn.Module = RKDOLoss(
            temperature=case["temperature"],
            coupling=case["coupling"],
            depth=case["depth"],
        )
    else:
        kernel = "cosine" if case["q"] == "gaussian" else case["q"]
        criterion = IConLoss(
            temperature=case["temperature"],
            kernel=kernel,
            debias=case["debias"],
            candidates="cross",
        )
        if kernel == "student_t":
            # This kernel takes embeddings as they come; the vectors' are normalised.
            views = nn.functional.normalize(z0), nn.functional.normalize(z1)
    loss = criterion(*views)
    loss.backward()

    expected = case[f"{method}_exact"]
    assert loss.item() == pytest.approx(expected["loss"], rel=1e-6)
    assert z0.grad.norm().item() == pytest.approx(expected["grad0_norm"], rel=1e-6)
    assert z1.grad.norm().item() == pytest.approx(expected["grad1_norm"], rel=1e-6)
    assert z0.grad[0, 0].item() == pytest.approx(expected["grad0_00"], rel=1e-6)


def test_the_defaults_are_the_published_settings():
    case = CASES[0]
    z0, z1 = oracles.lcg_views(case["lcg_seed"], case["batch"], case["dim"])
    published = torch.tensor(case["RKDO_exact"]["loss"], dtype=torch.float64)
    torch.testing.assert_close(RKDOLoss()(z0, z1), published, rtol=1e-6, atol=0)
