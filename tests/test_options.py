"""Options out of range and of other types, wherever they are given."""

import inspect
import math

import pytest
import torch
from numbered_samples import Numbers, views
from table_rows import OPTIONS, PRESETS
from two_view_criteria import every_criterion

from rkdo_plugin import (
    BatchLabels,
    ConvergenceMonitor,
    FieldCallback,
    FieldPairs,
    FieldTargetLoss,
    IConLoss,
    LossHead,
    RecursiveLoss,
    ResponseField,
    RKDOLoss,
    StopWhenFlat,
    SwapLoss,
    create_encoder,
    create_loss,
    create_recipe,
    swap_loss,
)
from rkdo_plugin.kernels import Gaussian, PowerLaw, StudentT
from rkdo_plugin.plugins.host import host
from rkdo_plugin.supervision import (
    GaussianAffinity,
    Neighbors,
    Perplexity,
    RandomWalk,
    Similarity,
    Spectral,
)


@every_criterion
@pytest.mark.parametrize("temperature", [0, -1, 1e-9, math.nan, math.inf])
def test_a_temperature_that_is_not_positive_is_refused(create, temperature):
    with pytest.raises(
        ValueError, match="`temperature` to be a finite positive number"
    ):
        create(temperature)


@every_criterion
@pytest.mark.parametrize(
    "temperature", [True, "0.5", None, torch.nn.Parameter(torch.ones(()))]
)
def test_a_temperature_that_is_no_number_is_refused(create, temperature):
    with pytest.raises(TypeError, match="`temperature` to be a number but got"):
        create(temperature)


@pytest.mark.parametrize(
    ("name", "create"),
    [
        ("bandwidth", lambda: Gaussian(-1)),
        ("bandwidth", lambda: Gaussian(math.nan)),
        ("degrees_of_freedom", lambda: StudentT(0)),
        ("degrees_of_freedom", lambda: StudentT(math.inf)),
        ("exponent", lambda: PowerLaw(0)),
        ("bandwidth", lambda: GaussianAffinity(0)),
        ("perplexity", lambda: Perplexity(-3)),
        ("temperature", lambda: Similarity(0)),
        ("k", lambda: Neighbors(0)),
        ("k", lambda: Neighbors(2.5)),
        ("components", lambda: Spectral(components=0)),
        ("neighbors", lambda: Spectral(neighbors=0)),
        ("bandwidth", lambda: Spectral(bandwidth=0)),
        ("steps", lambda: RandomWalk(Neighbors(), steps=0)),
        ("memory_bank_size", lambda: create_loss("moco", memory_bank_size=(0, 8))),
    ],
)
def test_options_out_of_range_are_named(name, create):
    message = rf"Expected `{name}.*` to be (a .*positive|.*at least) .* but got"
    with pytest.raises(ValueError, match=message):
        create()


FIELD, LOSS = ResponseField(12, 4, neighbors=2), IConLoss()
Z, INDEX = torch.eye(8), torch.arange(8)
ANYTHING = {"None": None, "x": "x", "1.5": 1.5, "[]": [], "object": object()}

# Each public callable, arguments that it takes, and which of ANYTHING it takes, too.
NUMBER, TEXT, PATH, OPTIONAL = {"1.5"}, {"x"}, {"None", "x"}, {"None"}
PAIRS = {"symmetric": False, "gather_distributed": False, "candidates": "cross"}
RECURSION = {
    "coupling": (0.5, NUMBER),
    "depth": (3, set()),
    "temperature_decay": (0.1, NUMBER),
    "detach_target": (False, set()),
}
CALLABLES = {
    ResponseField: {
        "num_samples": (12, set()),
        "dim": (4, set()),
        "neighbors": (2, set()),
        "coupling": (0.5, NUMBER),
        "teacher_temperature": (0.05, NUMBER),
        "field_weight": (0.5, NUMBER),
        "search": ("exact", set()),
        "embedding_dtype": (torch.float16, set()),
        "search_samples": (4, set()),
        "seed": (0, set()),
        "embeddings_file": (None, PATH),
        "mixture": ("linear", set()),
    },
    FieldPairs: {
        "dataset": (Numbers(12), set()),
        "transform": (views(), set()),
        "field": (FIELD, set()),
        "image": (None, PATH),
        "target": (None, PATH),
    },
    FieldCallback: {
        "field": (FIELD, set()),
        "warmup_epochs": (0, set()),
        "final_coupling": (None, NUMBER | OPTIONAL),
        "attribute": ("criterion", TEXT),
    },
    ConvergenceMonitor: {"field": (FIELD, set()), "samples": (8, set())},
    StopWhenFlat: {
        "min_improvement": (0.1, NUMBER),
        "patience": (3, set()),
        "monitor": ("loss", TEXT),
    },
    IConLoss: {
        "temperature": (0.5, NUMBER),
        "supervision": ("pairs", set()),
        "kernel": ("cosine", set()),
        "divergence": ("kl", set()),
        "debias": (0.0, NUMBER),
        "candidates": ("cross", set()),
        "gather_distributed": (False, set()),
        "symmetric": (False, set()),
        "joint": (False, set()),
        "learnable_temperature": (False, set()),
        "memory_bank_size": (None, OPTIONAL),
    },
    RecursiveLoss: {"over": (LOSS, TEXT), **RECURSION},
    RKDOLoss: {
        "temperature": (0.5, NUMBER),
        **RECURSION,
        **{name: (value, set()) for name, value in PAIRS.items()},
    },
    FieldTargetLoss: {
        "field": (FIELD, set()),
        "temperature": (0.5, NUMBER),
        **{name: (value, set()) for name, value in PAIRS.items()},
    },
    LossHead: {
        "projection": (torch.nn.Identity(), set()),
        "criterion": (LOSS, set()),
    },
    SwapLoss: {"name_or_module": (LOSS, TEXT), "attribute": ("criterion", TEXT)},
    swap_loss: {
        "module": (LossHead(torch.nn.Identity(), IConLoss()), set()),
        "name_or_module": (IConLoss(), TEXT),
        "attribute": ("criterion", TEXT),
    },
    BatchLabels: {"attribute": ("criterion", TEXT)},
    create_loss: {"name": ("icon", TEXT)},
    create_recipe: {"name": ("simclr", TEXT)},
    create_encoder: {"name": ("pixels", TEXT)},
    FIELD.initialize: {"features": (torch.rand(12, 3), set())},
    FIELD.sample: {"index": (INDEX, set()), "generator": (None, OPTIONAL)},
    FIELD.target: {"index": (INDEX, set())},
    FIELD.update: {
        "index": (INDEX, set()),
        "embeddings": (torch.rand(8, 4), set()),
        "coupling": (0.5, NUMBER | OPTIONAL),
    },
    LOSS: {
        "z0": (Z, set()),
        "z1": (Z, OPTIONAL),
        "targets": (None, OPTIONAL),
        "sample_ids": (None, OPTIONAL),
    },
}


def called(function):
    return getattr(function, "__qualname__", type(function).__name__)


@pytest.mark.parametrize(
    ("function", "argument"),
    [(function, name) for function, given in CALLABLES.items() for name in given],
    ids=lambda value: value if isinstance(value, str) else called(value),
)
def test_an_argument_of_a_wrong_type_is_named(function, argument):
    given = {name: value for name, (value, _) in CALLABLES[function].items()}
    for name in ANYTHING.keys() - CALLABLES[function][argument][1]:
        wrong = given | {argument: ANYTHING[name]}
        with pytest.raises((TypeError, ValueError)) as caught:
            function(**wrong)
        message = str(caught.value)
        assert message.startswith("Expected"), (name, message)
        assert f"`{argument}" in message, (name, message)
        assert "but got" in message, (name, message)


@pytest.mark.parametrize("function", CALLABLES, ids=called)
def test_every_argument_of_a_public_callable_is_in_the_table(function):
    of_module = isinstance(function, torch.nn.Module)
    signature = inspect.signature(function.forward if of_module else function)
    named = {
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    assert named == CALLABLES[function].keys()
    function(**{name: value for name, (value, _) in CALLABLES[function].items()})


def test_a_class_is_no_object_of_it():
    with pytest.raises(TypeError, match=r"`kernel` .* but got the class StudentT"):
        IConLoss(kernel=StudentT)


@pytest.mark.parametrize("flag", [0, 1, "true"])
def test_flags_are_true_or_false(flag):
    with pytest.raises(TypeError, match="Expected `joint` to be True or False but got"):
        IConLoss(joint=flag)


def test_truth_is_no_number():
    with pytest.raises(TypeError, match="`seed` to be an integer but got True"):
        ResponseField(12, 4, neighbors=2, seed=True)


@pytest.mark.parametrize("create", [create_loss, SwapLoss])
def test_an_argument_that_a_loss_does_not_have_is_named_beside_the_known_ones(create):
    message = (
        r"an argument of loss 'rkdo' but got `temprature` \(did you mean temperature\?"
        r"\); known: .*coupling"
    )
    with pytest.raises(TypeError, match=message):
        create("rkdo", temprature=0.2)


def test_an_argument_that_a_recipe_or_an_encoder_does_not_have_is_named():
    with pytest.raises(TypeError, match=r"recipe 'simclr' but got `q`; known: encoder"):
        create_recipe("simclr", q=1)
    with pytest.raises(TypeError, match=r"encoder 'resnet18' but got `q`; known: in_"):
        create_encoder("resnet18", q=1)


@pytest.mark.parametrize("name", PRESETS)
def test_a_row_of_the_table_hands_its_options_on(name):
    given = {"temperature": 0.3, "debias": 0.15, "gather_distributed": True}
    taken = given.keys() & inspect.signature(host().factory("loss", name)).parameters
    options = OPTIONS.get(name, {}) | {option: given[option] for option in taken}
    criterion, usual = create_loss(name, **options), create_loss(name)
    for option in taken:
        assert getattr(criterion, option) == pytest.approx(given[option]), option
    assert usual.gather_distributed is False
