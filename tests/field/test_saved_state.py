"""The state of another field."""

import pytest
import torch
from fields_by_hand import assert_untouched, small_field, snapshot


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 5}, "saved by a newer version"),
        ({"format": 3}, "saved by an older version"),
        ({"num_samples": 9}, "num_samples 8 but it has 9"),
        ({"dim": 5}, "dim 4 but it has 5"),
        ({"neighbors": 2}, "neighbors 3 but it has 2"),
        ({"fingerprint": "other"}, "the data set is another"),
        ({"mixture": "other"}, "mixture linear but it has other: .* mixture='other'"),
    ],
)
def test_another_fields_state_is_refused(change, message):
    saved = small_field(3, 0.5)
    saved.update(torch.arange(6), torch.randn(6, 4))
    state = saved.state_dict()
    state["_extra_state"] |= {"fingerprint": "own"} | change
    field = small_field(3, 0.5)
    field.fingerprint = "own"
    before = snapshot(field)
    with pytest.raises(ValueError, match=message):
        field.load_state_dict(state)
    assert_untouched(field, before)


@pytest.mark.parametrize(
    ("saved", "own"), [("linear", "log_linear"), ("log_linear", "linear")]
)
def test_a_field_of_the_other_mixture_is_refused(saved, own):
    state = small_field(3, 0.5, mixture=saved).state_dict()
    field = small_field(3, 0.5, mixture=own)
    before = snapshot(field)
    message = f"mixture {own} but it has {saved}: .* create it with mixture='{saved}'"
    with pytest.raises(ValueError, match=message):
        field.load_state_dict(state)
    assert_untouched(field, before)


def test_a_field_of_another_mixture_is_refused():
    state = small_field(3, 0.5).state_dict()
    with pytest.raises(ValueError, match="mixture log_linear but it has linear"):
        small_field(3, 0.5, mixture="log-linear").load_state_dict(state)


def test_a_field_that_is_not_whole_is_refused():
    state = small_field(3, 0.5).state_dict()
    del state["weights"]
    with pytest.raises(ValueError, match="lacks"):
        small_field(3, 0.5).load_state_dict(state)
