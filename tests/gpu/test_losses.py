"""Every criterion on the device: its numbers, its precision and its memory."""

from collections.abc import Callable

import pytest
import table_rows
import torch
from peak_memory import peak_bytes
from torch import Tensor
from two_view_criteria import CRITERIA, value_and_gradients

from rkdo_plugin import create_loss, rowwise

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("exact_products")]

D = 128
EVERY = [*table_rows.PRESETS, *CRITERIA]


def views(batch: int, dim: int = D) -> tuple[Tensor, ...]:
    """Two views of a batch, alike as after some training; float64 of float32 values."""
    first, noise = torch.randn(2, batch, dim)
    return first.double(), (first + 1.5 * noise).double()


def given(name: str, batch: int) -> tuple[list[Tensor], Tensor | None, dict]:
    """What a criterion is called with: `table_rows` in large."""
    if name in CRITERIA:
        return [*views(batch)], None, {}
    call = table_rows.CALLS[name]
    classes = name in ("cross-entropy", "harmonic", "mlm")
    first, second = views(batch, 2 if name.endswith("sne") else D)
    z = [first]
    if classes:
        z = [first, torch.randn(table_rows.C, D).double()]
    elif len(call.views) == 2 or call.other is not None:
        z = [first, second]
    targets = call.targets
    if targets is not None:
        repeats = -(-batch // len(targets))
        targets = torch.cat([targets] * repeats)[:batch]
    if targets is not None and targets.is_floating_point():
        targets = torch.randn(batch, 16).double()  # no copies, which would be ties
    options = dict(table_rows.OPTIONS.get(name, {}))
    if name == "moco":
        options["memory_bank_size"] = (2 * batch, D)
    return z, targets, options


def create(name: str, options: dict) -> torch.nn.Module:
    torch.manual_seed(1)
    return CRITERIA[name]() if name in CRITERIA else create_loss(name, **options)


def result(
    name: str, batch: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Value and gradient, in float64 on the CPU."""
    torch.manual_seed(0)
    z, targets, options = given(name, batch)
    criterion = create(name, options).to(device, dtype)
    z = [view.to(device, dtype).requires_grad_() for view in z]
    if targets is not None:
        targets = targets.to(device, dtype if targets.is_floating_point() else None)
    if name == "moco":
        z[1] = z[1].detach()
    loss = call(criterion, name, z, targets)
    gradients = torch.autograd.grad(loss, [view for view in z if view.requires_grad])
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    return loss.detach().double().cpu(), flat.double().cpu()


def call(criterion, name, z, targets):
    if name in CRITERIA:
        return criterion(*z)
    return criterion(*z, targets=targets)


@pytest.fixture
def many_chunks(monkeypatch):
    """Chunks so small that every batch here has several."""
    monkeypatch.setattr(rowwise, "ACCELERATOR_CHUNK", 2**14)
    monkeypatch.setattr(rowwise, "CPU_CHUNK", 2**14)


def require_as_in_float64(name: str, batch: int, device: torch.device) -> None:
    value, gradient = result(name, batch, device, torch.float32)
    expected, of_cpu = result(name, batch, torch.device("cpu"), torch.float64)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)
    assert (gradient - of_cpu).norm() <= 1e-5 * of_cpu.norm()


@pytest.mark.usefixtures("many_chunks")
@pytest.mark.parametrize("name", EVERY)
def test_value_and_gradient_are_those_of_the_cpu_in_float64(name, device, on_gpu):
    require_as_in_float64(name, 512 if on_gpu else 48, device)


@pytest.mark.usefixtures("only_gpu")
@pytest.mark.parametrize("name", CRITERIA)
def test_chunks_as_large_as_in_training(name, device):
    """4096 rows of 4096 products are four of them."""
    require_as_in_float64(name, 2048, device)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", CRITERIA)
def test_autocast_leaves_a_loss_in_float32(name, dtype, device):
    z0, z1 = (view.to(device, dtype) for view in views(64))
    criterion = CRITERIA[name]()
    expected = value_and_gradients(criterion, z0.float(), z1.float())
    with torch.autocast(device.type, dtype):
        found = value_and_gradients(criterion, z0, z1)
    assert found[0].dtype is torch.float32
    torch.testing.assert_close(found[0], expected[0], rtol=1e-6, atol=0)
    for gradient, other in zip(found[1:], expected[1:], strict=True):
        assert gradient.dtype is dtype
        torch.testing.assert_close(gradient, other.to(dtype))


def test_half_a_batch_of_embeddings_is_differentiated_through_a_scaler(device):
    """As 16-mixed trains: the loss is scaled, and the gradients are unscaled."""
    z0, z1 = (view.to(device, torch.float16).requires_grad_() for view in views(64))
    scale = 2.0**10
    (CRITERIA["rkdo"]()(z0, z1) * scale).backward()
    expected = value_and_gradients(CRITERIA["rkdo"](), z0.float(), z1.float())
    for found, other in zip((z0.grad, z1.grad), expected[1:], strict=True):
        error = (found.float() / scale - other).norm() / other.norm()
        assert error <= 1e-3


@pytest.mark.parametrize("name", EVERY)
def test_memory_is_rows_and_not_squares(name, device, on_gpu, monkeypatch):
    """A few chunks and a few copies of the embeddings, at any batch size.

    At B = 8192 that is 480 MiB, where one matrix over both views takes 1024 MiB.
    """
    if not on_gpu:
        monkeypatch.setattr(rowwise, "CPU_CHUNK", 2**12)
    chunk = rowwise.ACCELERATOR_CHUNK if on_gpu else rowwise.CPU_CHUNK
    batch = 8192 if on_gpu else 256
    pass_of(name, 64, device)()  # loads libraries, which take memory once
    peak = peak_bytes(device, pass_of(name, batch, device))
    assert peak <= 24 * 4 * chunk + 24 * 4 * batch * D, f"{peak / 2**20:.0f} MiB"


def pass_of(name: str, batch: int, device: torch.device) -> Callable[[], None]:
    """A forward and backward pass in float32, with all that it reads on the device."""
    torch.manual_seed(0)
    z, targets, options = given(name, batch)
    criterion = create(name, options).to(device)
    z = [view.float().to(device) for view in z]
    if targets is not None:
        targets = targets.to(device, *[torch.float32] * targets.is_floating_point())

    def one_pass() -> None:
        own = [view.detach().requires_grad_() for view in z]
        if name == "moco":
            own[1] = own[1].detach()
        call(criterion, name, own, targets).backward()

    return one_pass
