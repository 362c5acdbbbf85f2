import copy

import pytest
import torch
from oracles import consistency_weight, labelled_cross_entropy
from recipe_steps import LEARNING_RATE, STEPS, Losses, fit_by_sgd, labelled_batches
from scipy.special import softmax

from rkdo_plugin import create_recipe


def test_mean_teacher_is_the_formula():
    torch.manual_seed(0)
    options = {"num_classes": 3, "consistency": 7.0, "momentum": 0.6}
    recipe = create_recipe("mean-teacher", in_channels=1, image_size=28, **options)
    recipe = recipe.double()
    example = copy.deepcopy(recipe)
    data = labelled_batches()
    losses = Losses()
    fit_by_sgd(recipe, data, losses)

    trained = [p for p in example.parameters() if p.requires_grad]
    for step, (views, labels, _) in enumerate(data):
        alpha = min(1 - 1 / (step + 1), 0.6)
        pairs = (
            (example.student_backbone, example.teacher_backbone),
            (example.student_head, example.teacher_head),
        )
        with torch.no_grad():
            for student, teacher in pairs:
                for p, average in zip(
                    student.parameters(), teacher.parameters(), strict=True
                ):
                    average.copy_(alpha * average + (1 - alpha) * p)
        logits = example.student_head(example.student_backbone(views[0]))
        with torch.no_grad():
            target = example.teacher_head(example.teacher_backbone(views[1]))
        p, t = softmax(logits.detach().numpy(), axis=1), softmax(target.numpy(), axis=1)
        weight = 7 * consistency_weight(step, STEPS)
        value = labelled_cross_entropy(p, labels.tolist())
        value += weight * ((p - t) ** 2).mean()
        assert losses.values[step] == pytest.approx(value, abs=1e-12)
        loss = torch.nn.functional.cross_entropy(
            logits, labels, ignore_index=-1, reduction="sum"
        ) / len(labels)
        loss += weight * (logits.softmax(1) - target.softmax(1)).square().mean()
        grads = torch.autograd.grad(loss, trained)
        with torch.no_grad():
            for parameter, grad in zip(trained, grads, strict=True):
                parameter -= LEARNING_RATE * grad
    for key, value in example.state_dict().items():
        torch.testing.assert_close(recipe.state_dict()[key], value)
