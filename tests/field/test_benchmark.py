from rkdo_plugin.field.benchmark import field_costs


def test_memory_is_rows_and_embeddings():
    (cost,) = field_costs((1000,), dim=16, batch_size=32, repetitions=1)
    row = 8 * (4 + 4 + 1) + 4 + 4  # ids, weights and doubts, self mass, share of p_0
    embedding = 16 * 2 + 1  # float16, and whether there is one
    scalars = 4 + 8 + 6 * 8  # active weight, number of updates, evidence
    assert cost.mebibytes * 2**20 == 1000 * (row + embedding) + scalars
