import torch
from hypothesis import given
from hypothesis import strategies as st

from rkdo_plugin.losses.learned import NORMALIZERS
from rkdo_plugin.supervision.comparison import lowest


@given(
    logits=st.lists(st.floats(-50, 50), min_size=2, max_size=8),
    absent=st.integers(0, 7),
)
def test_normalizers_weigh_the_candidates(logits, absent):
    row = torch.tensor([logits], dtype=torch.float64)
    present = torch.ones_like(row, dtype=torch.bool)
    if absent < len(logits) - 1:
        present[0, absent] = False
    kept = row[present]
    expected = {
        "softmax": kept.logsumexp(dim=0),
        "mean": kept.mean(),
        "max": kept.max(),
    }
    for name, normalizer in NORMALIZERS.items():
        weights = row.masked_fill(~present, lowest(row.dtype))
        value = normalizer(weights)
        torch.testing.assert_close(value[0, 0], expected[name])
        torch.testing.assert_close(weights.sum(), torch.ones((), dtype=torch.float64))
        assert weights[~present].eq(0).all()
