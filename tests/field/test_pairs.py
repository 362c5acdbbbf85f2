import pickle
import weakref
from collections import Counter

import numpy as np
import pytest
import torch
from lightly.data import LightlyDataset
from lightly.transforms import FastSiamTransform
from numbered_samples import Numbers, index_of, views
from PIL import Image
from runs import assert_equal
from tiny_recipes import filled_field
from torch.utils.data import (
    DataLoader,
    DistributedSampler,
    IterableDataset,
    Subset,
    random_split,
)
from torchvision.datasets import CIFAR10, FakeData, cifar
from torchvision.transforms.functional import to_tensor

from rkdo_plugin import FieldPairs, ResponseField


def next_sample_field(length):
    """A field whose every partner is the next sample, and the first one's the last."""
    field = ResponseField(length, dim=4, neighbors=1, field_weight=1.0)
    follow(field, 1)
    return field


def follow(field, distance):
    """Make every sample's partner the one that comes so far behind it."""
    samples = torch.arange(field.num_samples)
    field.ids.copy_(((samples + distance) % field.num_samples)[:, None])
    field.weights.fill_(1)
    field.self_mass.zero_()


def two_tensors(image):
    tensor = to_tensor(image)
    return [tensor, -tensor]


@pytest.mark.parametrize("count", [2, 4])
def test_views_are_those_of_the_transform_where_the_partner_is_the_sample(count):
    pairs = FieldPairs(Numbers(5), views(count), ResponseField(5, dim=4, neighbors=1))
    torch.manual_seed(0)
    found, target, i, j = pairs[3, 3]
    torch.manual_seed(0)
    expected = views(count)([3])
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert (target, i, j) == (0, 3, 3)
    assert pairs[3][2:] == (3, 3)  # one-hot


@pytest.mark.parametrize("transform", [views(4), lambda image: views(4)(image)])
def test_all_views_but_the_first_are_of_the_partner(transform):
    pairs = FieldPairs(Numbers(5), transform, next_sample_field(5))
    for item, j in ((4, 0), ((4, 2), 2)):
        found, target, *ids = pairs[item]
        assert [view[:2].tolist() for view in found] == [[4, 0], [j, 1], [j, 2], [j, 3]]
        assert (target, ids) == (1, [4, j])


def test_lightly_transforms_of_four_views():
    data = FakeData(size=4, image_size=(3, 40, 40))
    pairs = FieldPairs(data, FastSiamTransform(input_size=32), next_sample_field(4))
    found, _, i, j = pairs[1]
    assert [view.shape for view in found] == [(3, 32, 32)] * 4
    assert (i, j) == (1, 2)


def test_numpy_integers_are_items_too():
    pairs = FieldPairs(Numbers(5), views(), next_sample_field(5))
    for item in (np.int64(2), torch.tensor(2), (np.int32(2), np.int64(3))):
        *_, i, j = pairs[item]
        assert (i, j) == (2, 3)
        assert type(i) is type(j) is int


@pytest.mark.parametrize("item", [-1, 5, (0, 5), (-1, 0)])
def test_items_outside_the_data_are_refused(item):
    pairs = FieldPairs(Numbers(5), views(), next_sample_field(5))
    with pytest.raises(IndexError, match=r"Expected an item in \[0, 5\) but got"):
        pairs[item]


def test_a_sample_outside_the_rows_is_drawn_as_often_as_the_field_says():
    field = next_sample_field(4)
    field.active_weight.fill_(0.25)
    pairs = FieldPairs(Numbers(4), views(), field)
    torch.manual_seed(0)
    moved = sum(pairs[0][3] == 1 for _ in range(2000)) / 2000
    assert abs(moved - 0.25) < 4 * (0.25 * 0.75 / 2000) ** 0.5


def test_a_batch_is_drawn_at_once_by_the_same_law():
    field = filled_field(12)
    pairs = FieldPairs(Numbers(12), views(), field)
    items = [3, (4, 9), np.int64(5), 6]
    torch.manual_seed(0)
    expected = field.sample(torch.tensor([3, 5, 6])).tolist()
    expected.insert(1, 9)
    torch.manual_seed(0)
    batch = pairs.__getitems__(items)
    assert [item[2:] for item in batch] == list(
        zip([3, 4, 5, 6], expected, strict=True)
    )
    shown = [[int(view[0]) for view in item[0]] for item in batch]
    assert shown == [list(ids) for ids in zip([3, 4, 5, 6], expected, strict=True)]
    assert [item[2:] for item in pairs.__getitems__([(4, 9), (1, 1)])] == [
        (4, 9),
        (1, 1),
    ]


class Loads:
    """Images that are made when asked for; it counts them, and knows which live."""

    def __init__(self, length):
        self.length = length
        self.counts = Counter()
        self.living = weakref.WeakValueDictionary()

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        self.counts[index] += 1
        self.living[index] = image = np.array([index])
        return image, index


REPEATS = [(3, 4), (5, 3), (3, 3), (0, 1), (4, 2), (1, 5), (3, 6), (7, 7)]


def test_a_batch_loads_each_of_its_samples_once():
    data = Loads(8)
    pairs = FieldPairs(data, views(3), next_sample_field(8))
    for draw in (lambda: REPEATS, lambda: [2, (3, 2), 3, np.int64(2), 0]):
        torch.manual_seed(0)
        data.counts.clear()
        batch = pairs.__getitems__(draw())
        shown = [{i, j} for *_, i, j in batch]
        assert data.counts == dict.fromkeys(set().union(*shown), 1)
    data.counts.clear()
    loader = DataLoader(pairs, batch_size=4, sampler=[2, 3, 4, 5, 6, 7, 0, 1])
    list(loader)  # the partner is the next sample: five in a batch of four
    assert data.counts == {2: 2, 6: 2} | dict.fromkeys((0, 1, 3, 4, 5, 7), 1)


def test_a_batch_has_the_items_that_are_made_one_by_one():
    pairs = FieldPairs(Numbers(8), views(3), next_sample_field(8))
    torch.manual_seed(0)
    expected = [pairs[item] for item in REPEATS]
    torch.manual_seed(0)
    assert_equal(expected, pairs.__getitems__(REPEATS))


def test_a_batch_holds_the_samples_that_it_will_need_again_and_no_others():
    data = Loads(8)
    pairs = FieldPairs(data, views(), next_sample_field(8))
    data.living.clear()
    items = pairs.in_turn(REPEATS)
    for number, _ in enumerate(items, start=1):
        before, after = (
            {sample for pair in part for sample in pair}
            for part in (REPEATS[:number], REPEATS[number:])
        )
        assert set(data.living) == before & after


class Images:
    """Images alone, or in a tuple."""

    def __init__(self, wrap):
        self.wrap = wrap

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return self.wrap([index])


@pytest.mark.parametrize(
    ("wrap", "target"),
    [
        (lambda image: image, -1),
        (lambda image: (image,), -1),
        (lambda image: (image, 7), 7),
        (lambda image: (image, 7, "name.png"), 7),
    ],
)
def test_targets(wrap, target):
    if wrap([0]) == [0]:  # a list is a tuple of image and target: use an array
        wrap = np.array
    found, label, *_ = FieldPairs(Images(wrap), views(), next_sample_field(3))[1]
    assert [int(view[0]) for view in found] == [1, 2]
    assert label == target


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six images of one gray value each, in two classes."""
    root = tmp_path_factory.mktemp("images")
    for index in range(6):
        path = root / "ab"[index // 3] / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (40 * index,) * 3).save(path)
    return root


def test_a_folder_of_images_by_lightly_dataset(folder):
    pairs = FieldPairs(LightlyDataset(str(folder)), two_tensors, next_sample_field(6))
    (one, two), target, i, j = pairs[2]
    assert (target, i, j) == (0, 2, 3)
    assert round(one.mean().item() * 255) == 80
    assert round(two.mean().item() * -255) == 120


def test_lightly_datasets_own_index_serves_without_pairs(folder):
    dataset = LightlyDataset(
        str(folder), transform=two_tensors, index_to_filename=index_of
    )
    _, _, index = next(iter(DataLoader(dataset, batch_size=4)))
    assert index.tolist() == [0, 1, 2, 3]


def test_a_torchvision_data_set(tmp_path, monkeypatch):
    base = tmp_path / "cifar-10-batches-py"
    base.mkdir()
    for name in [entry[0] for entry in CIFAR10.train_list]:
        rows = np.arange(2, dtype=np.uint8)[:, None] + 10 * int(name[-1])
        batch = {"data": rows.repeat(3072, axis=1), "labels": [int(name[-1]), 9]}
        (base / name).write_bytes(pickle.dumps(batch))
    (base / "batches.meta").write_bytes(
        pickle.dumps({"label_names": list("abcdefghij")})
    )
    monkeypatch.setattr(cifar, "check_integrity", lambda *_: True)
    data = CIFAR10(tmp_path)
    (one, two), target, i, j = FieldPairs(data, two_tensors, next_sample_field(10))[4]
    assert (target, i, j) == (3, 4, 5)
    assert round(one.mean().item() * 255) == 30
    assert round(two.mean().item() * -255) == 31


def test_parts_of_a_data_set_are_wrapped_after_the_split():
    part = Subset(Numbers(10), [8, 2, 5])
    (one, two), _, i, j = FieldPairs(part, views(), next_sample_field(3))[1]
    assert (i, j) == (1, 2)  # positions in the part, whose partners stay inside it
    assert (one[0], two[0]) == (2, 5)
    train, _ = random_split(Numbers(10), [7, 3], torch.Generator().manual_seed(0))
    pairs = FieldPairs(train, views(), next_sample_field(7))
    shown = {int(view[0]) for i in range(7) for view in pairs[i][0]}
    assert shown == set(train.indices)


@pytest.mark.parametrize(("drop_last", "expected"), [(True, 6), (False, 8)])
def test_distributed_samplers_and_incomplete_batches(drop_last, expected):
    pairs = FieldPairs(Numbers(7), views(), next_sample_field(7))
    found = []
    for rank in range(2):
        sampler = DistributedSampler(pairs, 2, rank, drop_last=drop_last)
        for found_views, _, i, j in DataLoader(pairs, batch_size=3, sampler=sampler):
            assert torch.equal(found_views[0][:, 0].long(), i)
            assert torch.equal(found_views[1][:, 0].long(), j)
            assert torch.equal(j, (i + 1) % 7)
            found += i.tolist()
    assert len(found) == expected
    assert len(set(found)) == min(7, expected)  # padding repeats a sample
    loader = DataLoader(pairs, batch_size=3, drop_last=drop_last)
    assert sum(len(i) for _, _, i, _ in loader) == (6 if drop_last else 7)


@pytest.mark.parametrize(
    ("start", "persistent"), [("fork", False), ("fork", True), ("spawn", True)]
)
def test_running_workers_see_the_rows_change(start, persistent):
    field = ResponseField(24, dim=4, neighbors=1, field_weight=1.0)
    loader = DataLoader(
        FieldPairs(Numbers(24), views(), field),
        batch_size=2,
        num_workers=1,
        prefetch_factor=2,
        multiprocessing_context=start,
        persistent_workers=persistent,
    )

    def distances(batches):
        return [set(((j - i) % 24).tolist()) for _, _, i, j in batches]

    assert distances(loader) == [{0}] * 12
    follow(field, 5)  # between two epochs
    batches = iter(loader)
    assert distances([next(batches)]) == [{5}]
    follow(field, 7)  # within one: two batches are drawn already, at most three
    rest = distances(batches)
    assert len(rest) == 11
    assert rest[3:] == [{7}] * 8
    field.initialize(torch.eye(24, 2) + torch.tensor([0.0, 1e-3]))
    assert distances(loader)[0] != {7}
    field.update(torch.arange(24), torch.randn(24, 4))
    followed = field.target(torch.arange(24))[0][:, 0]
    for _, _, i, j in loader:
        assert torch.equal(j, followed[i])


class Stream(IterableDataset):
    def __iter__(self):
        yield from ()


@pytest.mark.parametrize("dataset", [Stream(), (number for number in range(5))])
def test_a_data_set_without_index_is_refused(dataset):
    with pytest.raises(TypeError, match="no index: give it __getitem__ and __len__"):
        FieldPairs(dataset, views(), ResponseField(5, dim=4, neighbors=1))


def test_a_field_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"to have 5 samples, .* but got 6"):
        FieldPairs(Numbers(5), views(), ResponseField(6, dim=4, neighbors=1))


def test_a_field_of_other_data_is_refused():
    field = ResponseField(5, dim=4, neighbors=1)
    FieldPairs(Numbers(5), views(), field)
    FieldPairs(Numbers(5), views(), field)  # the same data again
    with pytest.raises(ValueError, match="images were replaced or reordered"):
        FieldPairs(Subset(Numbers(5), [4, 3, 2, 1, 0]), views(), field)


def test_a_saved_field_remembers_its_data():
    field = ResponseField(5, dim=4, neighbors=1)
    FieldPairs(Numbers(5), views(), field)
    other = ResponseField(5, dim=4, neighbors=1)
    FieldPairs(Subset(Numbers(5), [4, 3, 2, 1, 0]), views(), other)
    with pytest.raises(ValueError, match="data set is another"):
        other.load_state_dict(field.state_dict())


class Items:
    """Three items of one kind; item i is made of the image [i] and the label 5 + i."""

    def __init__(self, make):
        self.make = make

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return self.make(np.array([index]), 5 + index)


def photo_and_class(image, label):
    return {"photo": image, "class": label, "name": "a.png"}


@pytest.mark.parametrize(
    ("make", "image", "target", "expected"),
    [
        (photo_and_class, "photo", "class", 6),
        (photo_and_class, "photo", None, -1),
        (photo_and_class, lambda item: item["photo"], lambda item: -item["class"], -6),
        (lambda image, label: (label, image), 1, 0, 6),
        (lambda image, label: (label, image), 1, None, -1),
        (lambda image, label: (image, "name", label), None, 2, 6),
        (lambda image, label: ((image, image), label), lambda i: i[0][0], 1, 6),
        (lambda image, label: image, None, lambda image: int(image[0]), 1),
        (lambda image, label: {0: image, 1: label}, 0, 1, 6),
    ],
)
def test_image_and_target_are_where_they_are_said_to_be(make, image, target, expected):
    field = next_sample_field(3)
    pairs = FieldPairs(Items(make), views(), field, image, target)
    found, label, *ids = pairs[1]
    assert [int(view[0]) for view in found] == [1, 2]
    assert (label, ids) == (expected, [1, 2])


def test_the_same_images_are_the_same_data_wherever_items_have_them():
    field = ResponseField(3, dim=4, neighbors=1)
    FieldPairs(Items(lambda image, label: (image, label)), views(), field)
    FieldPairs(Items(photo_and_class), views(), field, "photo")  # no other data


@pytest.mark.parametrize(
    ("make", "options", "kind", "message"),
    [
        (
            photo_and_class,
            {},
            TypeError,
            r"`image` to say where .* a dict with the keys 'photo', 'class', 'name'; "
            r"give FieldPairs\(\.\.\., image=, target=\)",
        ),
        (
            photo_and_class,
            {"target": "class"},
            TypeError,
            "`image` to say where",
        ),
        (
            photo_and_class,
            {"image": "pixels"},
            ValueError,
            r"have `image` at 'pixels' but got a dict with the keys 'photo', 'class'",
        ),
        (
            photo_and_class,
            {"image": "photo", "target": "label"},
            ValueError,
            "have `target` at 'label' but got a dict",
        ),
        (
            lambda image, label: (image, label),
            {"image": 2},
            ValueError,
            "have `image` at 2 but got a tuple of ndarray, int",
        ),
        (
            lambda image, label: (image, label),
            {"image": "photo"},
            ValueError,
            "have `image` at 'photo' but got a tuple of ndarray, int",
        ),
        (
            lambda image, label: image,
            {"image": "photo"},
            ValueError,
            "have `image` at 'photo' but got a ndarray",
        ),
        (
            lambda image, label: None,
            {},
            TypeError,
            r"image, .* but got NoneType;",
        ),
        (
            lambda image, label: object(),
            {},
            TypeError,
            r"a PIL image, .* but got object; give FieldPairs\(",
        ),
        (
            lambda image, label: (photo_and_class(image, label), label),
            {},
            TypeError,
            r"a PIL image, .* but got dict; give FieldPairs\(",
        ),
    ],
)
def test_items_that_are_not_understood_are_refused(make, options, kind, message):
    with pytest.raises(kind, match=message):
        FieldPairs(Items(make), views(), next_sample_field(3), **options)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_read_items_that_are_dicts(start):
    data = [{"image": [i], "label": i + 5} for i in range(6)]
    pairs = FieldPairs(data, views(), next_sample_field(6), "image", "label")
    loader = DataLoader(
        pairs, batch_size=3, num_workers=1, multiprocessing_context=start
    )
    targets = [label for _, labels, *_ in loader for label in labels.tolist()]
    assert targets == [5, 6, 7, 8, 9, 10]
