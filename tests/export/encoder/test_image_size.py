import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rkdo_plugin.export.encoder.image_size import (
    as_image_size,
    parse_image_size,
    sides,
    written,
)


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_every_way_to_write_a_size_gives_the_same(height: int, width: int) -> None:
    size = as_image_size((height, width))

    assert sides(size) == (height, width)
    assert as_image_size([height, width]) == size
    assert parse_image_size(f"{height}x{width}") == size
    assert parse_image_size(written(size)) == size


def test_a_square_is_one_integer() -> None:
    for size in (
        *(as_image_size(square) for square in (224, (224, 224), np.int64(224))),
        *(parse_image_size(square) for square in ("224", "224x224")),
    ):
        assert size == 224 and type(size) is int
        assert sides(size) == (224, 224)
        assert written(size) == "224"


@pytest.mark.parametrize("value", [1.5, True, None, "224", (1,), (2, 2.0), (1, 2, 3)])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="Expected `image_size` to be one integer"):
        as_image_size(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "x", "256x", "256 x 128", "1x2x3", "-1", "٣"])
def test_a_text_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="one integer, or height and width as 256x128"):
        parse_image_size(text)


@pytest.mark.parametrize("value", [0, -1, (0, 8), (8, 0)])
def test_a_side_without_pixels_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="at least 1 but got"):
        as_image_size(value)  # type: ignore[arg-type]
