import pytest
from int8_graphs import SIZE, Chain, Residual, as_encoder
from photographs import crops

from rkdo_plugin.export.graph.build import to_graph
from rkdo_plugin.export.int8.build import prepared


@pytest.fixture(scope="session")
def chain():
    return as_encoder(Chain())


@pytest.fixture(scope="session")
def chain_graph(chain):
    return prepared(to_graph(chain))


@pytest.fixture(scope="session")
def residual_graph():
    return prepared(to_graph(as_encoder(Residual())))


@pytest.fixture(scope="session")
def calibration():
    return crops(48, SIZE)
