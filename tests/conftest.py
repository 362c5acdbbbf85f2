import contextlib
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

# Lightly before 1.6 asks the network for its newest version at import.
os.environ["LIGHTLY_DID_VERSION_CHECK"] = "True"
# Some tests import onnxruntime before the export does.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

GPU = Path(__file__).parent / "gpu"


def pytest_addoption(parser):
    parser.addoption(
        "--device",
        choices=("cuda", "cpu"),
        default="cuda",
        help="where the tests marked gpu run: on cpu they are tiny, a dry run",
    )


def pytest_configure(config):
    if config.getoption("--device") == "cpu":
        # For what chooses by itself, too. Ray counts one, as its tests pretend.
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    with contextlib.suppress(ImportError):  # a GPU machine may lack it
        import hypothesis

        # The same examples in every run, however long one takes.
        hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
        hypothesis.settings.load_profile("same")


def pytest_ignore_collect(collection_path, config):
    """Let `-m gpu` import no other tests: GPU machines lack much that they need."""
    if config.option.markexpr != "gpu":
        return None
    near = {collection_path, *collection_path.parents} & {GPU}
    return None if near or collection_path in GPU.parents else True


@pytest.fixture(autouse=True)
def seeded():
    """Each test draws the same numbers, whichever tests ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
