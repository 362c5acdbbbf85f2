"""The device of the GPU tests, and what each of them needs.

A test that needs more than PyTorch asks for it with a fixture, and is skipped with the
reason where it is not there. With `--device cpu` the same tests run, tiny, on the CPU.
"""

from pathlib import Path

import pytest
import torch

from rkdo_plugin.export.runtime.cuda_fault import cuda_fault

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config, items):
    ours = [item for item in items if HERE in item.path.parents]
    if not ours or config.getoption("--device") == "cpu":
        return
    fault = cuda_fault()
    if fault is not None:
        for item in ours:
            item.add_marker(pytest.mark.skip(reason=f"needs a GPU, but {fault}"))


@pytest.fixture(scope="session")
def device(request):
    name = request.config.getoption("--device")
    return torch.device(name, 0) if name == "cuda" else torch.device(name)


@pytest.fixture(scope="session")
def on_gpu(device):
    return device.type == "cuda"


@pytest.fixture
def only_gpu(on_gpu):
    if not on_gpu:
        pytest.skip("only a GPU has it, and this is --device cpu")


@pytest.fixture
def exact_products():
    """Products in float32 as float32, on a GPU, too."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.fixture
def deterministic():
    """Kernels that give the same bits each time, as `rkdo train` asks for.

    Lightning's Trainer asks for them, too, and leaves it so: this restores it.
    """
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(before)
