import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rkdo_plugin.export.encoder.image_size import as_image_size, sides, written


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_every_way_to_write_a_size_gives_the_same(height: int, width: int) -> None:
    size = as_image_size((height, width))

    assert sides(size) == (height, width)
    assert as_image_size([height, width]) == size
    assert as_image_size(f"{height}x{width}") == size
    assert as_image_size(written(size)) == size


def test_a_square_is_one_integer() -> None:
    for square in (224, "224", "224x224", (224, 224), np.int64(224)):
        size = as_image_size(square)

        assert size == 224 and type(size) is int
        assert sides(size) == (224, 224)
        assert written(size) == "224"


@pytest.mark.parametrize(
    "value", [1.5, True, None, "", "x", "256x", "256 x 128", "1x2x3", "٣", (1,), (2, 2.0)]
)
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="Expected `image_size` to be one integer"):
        as_image_size(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, -1, (0, 8), (8, 0), "0x8"])
def test_a_side_without_pixels_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="at least 1 pixel a side"):
        as_image_size(value)  # type: ignore[arg-type]
