"""Every method's published views are what Lightly's transforms and papers say."""

from dataclasses import asdict, replace

import lightly.transforms as of_lightly
import pytest
from lightly.transforms.multi_view_transform import MultiViewTransform
from lightly.transforms.torchvision_v2_compatibility import ToTensor
from torchvision.transforms import v2

from rkdo_plugin import create_recipe
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.views.transforms import batched
from rkdo_plugin.recipes.views.view import read_view

PHOTOGRAPHS = replace(
    load_data("digits"),
    name="photographs",
    channels=3,
    image_size=224,
    mean=(0.5,) * 3,
    std=(0.25,) * 3,
)

# The numbers of the docs' table: strengths of brightness, contrast, saturation and hue,
# smallest crop, blur and solarisation of each view.
STRONG, WEAK, BALANCED = (
    (0.8, 0.8, 0.8, 0.2),
    (0.4, 0.4, 0.2, 0.1),
    (0.4, 0.4, 0.4, 0.1),
)
SIMCLR = [(STRONG, 0.08, 0.5, 0.0)] * 2
MOCO = [(BALANCED, 0.2, 0.5, 0.0)] * 2
BYOL = [(WEAK, 0.08, 1.0, 0.0), (WEAK, 0.08, 0.1, 0.2)]
PUBLISHED = {
    "simclr": SIMCLR,
    "nnclr": SIMCLR,
    "supcon": SIMCLR,
    "mean-teacher": SIMCLR,
    "temporal-ensembling": SIMCLR,
    "moco": MOCO,
    "simsiam": MOCO,
    "byol": BYOL,
    "barlowtwins": BYOL,
    "vicreg": [(WEAK, 0.08, 0.5, 0.1)] * 2,
    "dino": [
        (WEAK, 0.4, 1.0, 0.0),
        (WEAK, 0.4, 0.1, 0.2),
        *[(WEAK, 0.05, 0.5, 0.0)] * 4,
    ],
}

LIGHTLYS = {
    "simclr": of_lightly.SimCLRTransform,
    "moco": of_lightly.MoCoV2Transform,
    "simsiam": of_lightly.SimSiamTransform,
    "byol": of_lightly.BYOLTransform,
    "barlowtwins": of_lightly.BYOLTransform,
    "vicreg": of_lightly.VICRegTransform,
    "dino": lambda: of_lightly.DINOTransform(n_local_views=4),
}


def stages(views):
    """All that each view of a Lightly transform does, but for the normalisation."""
    return [
        [
            (type(stage), str(vars(stage)))
            for stage in view.transform.transforms
            if not isinstance(stage, ToTensor | v2.Normalize)
        ]
        for view in views.transforms
    ]


def settings(view):
    """The numbers of a view that the docs' table has."""
    ranges = (view.brightness, view.contrast, view.saturation)
    strengths = (*(high - 1 for _, high in ranges), view.hue[1])
    return (
        tuple(round(strength, 9) for strength in strengths),
        view.scale[0],
        view.blur,
        view.solarize,
    )


@pytest.mark.parametrize("recipe", LIGHTLYS)
def test_views_of_images_are_lightlys_own_at_224_pixels(recipe):
    views = create_recipe(recipe).views(PHOTOGRAPHS)
    assert stages(views) == stages(LIGHTLYS[recipe]())


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_views_of_batches_have_the_published_numbers(recipe):
    found = create_recipe(recipe).batched_views(PHOTOGRAPHS).settings
    assert [settings(view) for view in found] == PUBLISHED[recipe]
    for number, view in enumerate(found):
        local = recipe == "dino" and number > 1
        assert view.size == (96 if local else 224)
        assert view.scale[1] == (0.4 if local else 1.0)
        assert (view.flip, view.jitter, view.grayscale) == (0.5, 0.8, 0.2)
        assert view.sigmas == (0.1, 2)
        assert view.solarize_first == (recipe == "vicreg")


@pytest.mark.parametrize("recipe", [name for name in PUBLISHED if name != "dino"])
def test_below_64_pixels_all_methods_share_the_views_of_small_images(recipe):
    def found(recipe, size):
        data = replace(PHOTOGRAPHS, image_size=size)
        return create_recipe(recipe).batched_views(data).settings

    small = found("simclr", 63)
    assert found(recipe, 63) == small
    wide = tuple(replace(view, size=(63, 200)) for view in small)
    assert found(recipe, (63, 200)) == wide
    assert settings(small[0]) == ((0.4, 0.4, 0.4, 0.1), 0.3, 0.0, 0.0)
    assert [settings(view) for view in found(recipe, 64)] == PUBLISHED[recipe]


@pytest.mark.parametrize("recipe", PUBLISHED)
@pytest.mark.parametrize("size", [28, 96])
def test_grey_images_keep_their_colours_and_digits_are_not_mirrored(recipe, size):
    data = replace(load_data("digits"), image_size=size)
    for view in create_recipe(recipe).batched_views(data).settings:
        assert (view.saturation, view.hue, view.grayscale) == (None, None, 0.0)
        assert view.flip == 0
    data = replace(data, name="clothes")
    for view in create_recipe(recipe).batched_views(data).settings:
        assert view.flip == 0.5


@pytest.mark.parametrize(
    "stage",
    [
        v2.RandomVerticalFlip(0.5),
        v2.RandomRotation(10),
        v2.RandomApply([v2.GaussianBlur(3)]),
        of_lightly.RandomSolarization(threshold=64),
    ],
)
def test_a_change_that_batches_do_not_have_is_refused(stage):
    views = MultiViewTransform([v2.Compose([v2.RandomResizedCrop(8), stage])])
    with pytest.raises(ValueError, match=r"augment='batches' but got .*Random"):
        batched(views, PHOTOGRAPHS)


def test_views_without_crops_are_refused():
    with pytest.raises(ValueError, match=r"with a RandomResizedCrop .* but got"):
        read_view(v2.Compose([v2.RandomHorizontalFlip()]))


def test_a_transform_of_other_sizes_and_stages_is_read():
    view = v2.Compose([v2.RandomResizedCrop((8, 4), (0.5, 0.9)), v2.RandomGrayscale(1)])
    found = {k: v for k, v in asdict(read_view(view)).items() if v}
    assert found == {
        "size": (8, 4),
        "scale": (0.5, 0.9),
        "grayscale": 1,
        "sigmas": (0.1, 2.0),
    }
