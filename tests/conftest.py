import os
import random

import numpy as np
import pytest
import torch

# Lightly before 1.6 asks the network for its newest version at import.
os.environ["LIGHTLY_DID_VERSION_CHECK"] = "True"


@pytest.fixture(autouse=True)
def seeded():
    """Each test draws the same numbers, whichever tests ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
