import os
import random

import numpy as np
import pytest
import torch

# Lightly before 1.6 asks the network for its newest version at import.
os.environ["LIGHTLY_DID_VERSION_CHECK"] = "True"


def pytest_addoption(parser):
    parser.addoption(
        "--device",
        choices=("cuda", "cpu"),
        default="cuda",
        help="where the tests marked gpu run: on cpu they are tiny, a dry run",
    )


def pytest_configure(config):
    if config.getoption("--device") == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # what chooses by itself, too


@pytest.fixture(autouse=True)
def seeded():
    """Each test draws the same numbers, whichever tests ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
