"""A response field whose embeddings are on the device, beside one on the CPU."""

import numpy as np
import pytest
import torch
from fields_by_hand import TEMPERATURE, assert_same_field, small_field, snapshot
from oracles import DenseField, dense_rows

from rkdo_plugin import ResponseField

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("exact_products")]

KINDS = {
    "exact": {},
    "sampled": {"search": "sampled", "search_samples": 64},
    "log-linear": {"mixture": "log-linear"},
    "float16": {"embedding_dtype": torch.float16},
}
STEPS, B, DIM = 6, 96, 16


def field_of(kind, size=400):
    """A field with given neighbours, so that its weight is judged, too."""
    options = {"embedding_dtype": torch.float32} | KINDS[kind]
    field = ResponseField(size, DIM, neighbors=5, coupling=0.3, **options)
    field.initialize(torch.randn(size, 8, generator=torch.manual_seed(0)))
    return field


def steps(size=400, count=STEPS):
    """Indices with repetitions, and embeddings near those of a pass before."""
    generator = torch.manual_seed(1)
    centres = torch.randn(size, DIM, generator=generator)
    for _ in range(count):
        index = torch.randint(size, (B,), generator=generator)
        yield index, centres[index] + 0.1 * torch.randn(B, DIM, generator=generator)


def advance(field, batches, device):
    for index, z in batches:
        field.update(index.to(device), z.to(device))
    return field


@pytest.mark.parametrize("coupling", [0.1, 1.0])
def test_with_all_neighbors_it_is_equation_3(coupling, device):
    field = small_field(7, coupling).to(device)
    reference = DenseField(8, 4, coupling, TEMPERATURE)
    generator = torch.manual_seed(0)
    for _ in range(5):
        index = torch.randint(8, (6,), generator=generator)
        z = torch.randn(6, 4, generator=generator)
        field.update(index.to(device), z.to(device))
        reference.update(index.tolist(), z.double().numpy())
    np.testing.assert_allclose(dense_rows(field), reference.p, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_updates_are_those_of_the_cpu(kind, device):
    field = advance(field_of(kind).to(device), steps(), device)
    expected = advance(field_of(kind), steps(), "cpu")
    assert field.embeddings.device.type == device.type
    assert field.ids.device.type == "cpu" and field.ids.is_shared()
    # A half-precision component may be rounded up on one device and down on another.
    stored = field.embeddings.dtype is torch.float16
    torch.testing.assert_close(
        field.embeddings.cpu(), expected.embeddings, rtol=0, atol=1e-3 * stored + 1e-6
    )
    # Of two samples that are equally near, up to rounding, either may be a neighbour.
    moved = np.abs(dense_rows(field) - dense_rows(expected)).sum(axis=1)
    assert moved.mean() <= (1e-2 if stored else 1e-3)
    assert np.median(moved) <= (1e-2 if stored else 1e-5)
    assert field.trust == pytest.approx(expected.trust, abs=1e-2)


def test_half_precision_embeddings_arrive_from_autocast(device):
    field, expected = field_of("exact").to(device), field_of("exact").to(device)
    for index, z in steps():
        low = z.to(device, torch.bfloat16)
        field.update(index.to(device), low)
        expected.update(index.to(device), low.float())
    assert_same_field(field, expected)


def test_partners_are_drawn_as_on_the_cpu(device):
    """From indices on either device; the rows, and so the draws, are on the CPU."""
    field = advance(field_of("exact").to(device), steps(), device)
    here = torch.arange(400)
    drawn = [
        field.sample(index, torch.Generator().manual_seed(3))
        for index in (here, here.to(device))
    ]
    expected = field.rows.sample(here, torch.Generator().manual_seed(3))
    assert torch.equal(drawn[0], expected) and torch.equal(drawn[1], expected)
    ids, weights, mass = field.target(here.to(device))
    assert {part.device.type for part in (ids, weights, mass)} == {"cpu"}


def test_a_start_from_features_on_the_device(device):
    features = torch.randn(400, 8, generator=torch.manual_seed(0))
    fields = [ResponseField(400, DIM, neighbors=5) for _ in range(2)]
    fields[0].initialize(features.to(device))
    fields[1].initialize(features)
    np.testing.assert_allclose(*map(dense_rows, fields), atol=1e-5)


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("saved_on", ["device", "cpu"])
def test_resumed_equals_uninterrupted(kind, saved_on, device, tmp_path):
    """A checkpoint is read to the device, or to the CPU first, as Lightning does."""
    batches = list(steps(count=10))
    whole = advance(field_of(kind).to(device), batches, device)
    first = advance(field_of(kind).to(device), batches[:4], device)
    torch.save(first.state_dict(), tmp_path / "field.pt")
    resumed = ResponseField(
        400,
        DIM,
        neighbors=5,
        coupling=0.3,
        **{"embedding_dtype": torch.float32} | KINDS[kind],
    ).to(device)
    where = device if saved_on == "device" else "cpu"
    resumed.load_state_dict(
        torch.load(tmp_path / "field.pt", map_location=where, weights_only=True)
    )
    advance(resumed, batches[4:], device)
    before = snapshot(whole)
    for name, value in snapshot(resumed).items():
        assert torch.equal(value, before[name]), name
    assert resumed.trust == whole.trust


def test_the_field_comes_back_to_the_cpu(device):
    field = advance(field_of("exact").to(device), steps(), device).cpu()
    assert {value.device.type for value in field.buffers()} == {"cpu"}
    advance(field, steps(), "cpu")
    assert int(field.updates) == 2 * STEPS


def test_a_search_over_several_chunks(device, on_gpu):
    """The nearest of many samples, beside torch's own ranking of all products."""
    size = 100_000 if on_gpu else 20_000
    field = ResponseField(size, DIM, 5, embedding_dtype=torch.float32).to(device)
    z = torch.randn(size, DIM, generator=torch.manual_seed(0)).to(device)
    for index in torch.split(torch.arange(size), 8192):
        field.update(index, z[index.to(device)], coupling=0.0)
    some = torch.arange(0, size, size // 300)[:256]
    field.update(some, z[some.to(device)], coupling=1.0)
    unit = torch.nn.functional.normalize(z.double(), dim=1)
    products = unit[some.to(device)] @ unit.T
    products[torch.arange(len(some)), some] = -1
    found = products.gather(1, field.ids[some].long().to(device)).sort().values
    expected = products.topk(5, dim=1).values.sort().values
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
