"""Every kind of source gives its images in order, with keys and carried columns."""

import io
import os
import tarfile

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rkdo_plugin.export import open_source
from rkdo_plugin.export.encoder.pictures import read_picture
from rkdo_plugin.export.reading.item import opened


def png(value):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(file, "png")
    return file.getvalue()


def values(source):
    """Keys with the reds of the pictures, and what is carried along."""
    found = []
    for item in source:
        with opened(item.place) as file:
            red = np.asarray(read_picture(file, 3))[0, 0, 0]
        found.append((item.key, int(red), *item.kept))
    return found


def add(tar, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "pictures"
    for number, name in enumerate(["b.png", "a/2.png", "a/10.png", "a.png", "a-1.png"]):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(number))
    return folder


def test_a_folder_in_the_order_of_the_sorted_paths(folder):
    source = open_source(folder)
    keys = [key for key, _ in values(source)]
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    assert keys == [path.relative_to(folder).as_posix() for path in paths]
    assert keys == ["a/10.png", "a/2.png", "a-1.png", "a.png", "b.png"]
    assert source.count() == 5
    assert list(source) == list(source)


def test_a_folder_is_listed_no_further_than_it_is_read(tmp_path, monkeypatch):
    for number in range(50):
        (tmp_path / f"{number:02}").mkdir()
        (tmp_path / f"{number:02}" / "x.png").write_bytes(png(number))
    scandir, listed = os.scandir, []
    monkeypatch.setattr(
        os, "scandir", lambda path: listed.append(path) or scandir(path)
    )
    items = iter(open_source(tmp_path))
    assert [next(items).key for _ in range(3)] == [f"{n:02}/x.png" for n in range(3)]
    assert len(listed) == 4


def test_a_list_of_paths_relative_to_its_folder(folder, tmp_path):
    elsewhere = tmp_path / "elsewhere.png"
    elsewhere.write_bytes(png(77))
    file = folder / "some.txt"
    file.write_text(f"b.png\n\na/2.png\r\n{elsewhere}\n")
    source = open_source(file)
    assert values(source) == [("b.png", 0), ("a/2.png", 1), (str(elsewhere), 77)]
    assert source.count() == 3 and source.key == "path"


def test_a_table_of_paths_carries_columns_along(folder):
    table = pa.table(
        {"label": [5, 6], "image": ["b.png", "a.png"], "split": ["t", "v"]}
    )
    pq.write_table(table, folder / "some.parquet")
    source = open_source(folder / "some.parquet", keep=["split", "label"])
    assert values(source) == [("b.png", 0, "t", 5), ("a.png", 3, "v", 6)]
    assert [field.type for field in source.kept] == [pa.string(), pa.int64()]
    assert source.count() == 2


@pytest.mark.parametrize("form", ["bytes", "large", "hugging-face"])
def test_a_table_of_bytes(tmp_path, form):
    cells = [png(8), png(9)]
    if form == "hugging-face":
        cells = [{"bytes": cell, "path": None} for cell in cells]
    kind = {"bytes": pa.binary(), "large": pa.large_binary()}.get(form)
    pq.write_table(pa.table({"photo": pa.array(cells, kind)}), tmp_path / "x.parquet")
    source = open_source(tmp_path / "x.parquet", column="photo")
    assert values(source) == [("0", 8), ("1", 9)] and source.key == "row"


def test_a_table_of_bytes_with_their_paths(tmp_path):
    table = pa.table({"path": ["k", "l"], "image": [png(1), png(2)]})
    pq.write_table(table, tmp_path / "x.parquet")
    source = open_source(tmp_path / "x.parquet")
    assert values(source) == [("k", 1), ("l", 2)] and source.key == "path"


def test_tar_files_in_webdatasets_form(tmp_path):
    for shard in range(2):
        with tarfile.open(tmp_path / f"train-{shard:03}.tar", "w") as tar:
            for sample in range(2):
                add(tar, f"s/{sample:04}.png", png(10 * shard + sample))
                add(tar, f"s/{sample:04}.cls", str(sample).encode())
            add(tar, "s/notes.txt", b"no picture")
    source = open_source(f"{tmp_path}/train-{{000..001}}.tar", keep=["cls", "json"])
    assert values(source) == [
        ("train-000.tar/s/0000", 0, "0", None),
        ("train-000.tar/s/0001", 1, "1", None),
        ("train-001.tar/s/0000", 10, "0", None),
        ("train-001.tar/s/0001", 11, "1", None),
    ]
    assert source.others == ["train-000.tar/s/notes.txt", "train-001.tar/s/notes.txt"]
    assert source.key == "key" and source.count() == 4


@pytest.mark.parametrize("size", [-1, -512, 2**40, 2**63, 2**80])
def test_a_tar_file_that_claims_other_bytes_than_it_has(tmp_path, size):
    """Negative sizes led to the whole file, and large ones to as much memory."""
    file = tmp_path / "x.tar"
    with tarfile.open(file, "w") as tar:
        add(tar, "0.png", png(0))
        add(tar, "1.png", png(1))
    content = bytearray(file.read_bytes())
    start = content.index(b"1.png")
    number = (b"\x80" if size >= 0 else b"\xff") + (size % 2**88).to_bytes(11, "big")
    content[start + 124 : start + 136] = number
    content[start + 148 : start + 156] = b" " * 8
    total = sum(content[start : start + 512])
    content[start + 148 : start + 156] = b"%06o\0 " % total
    file.write_bytes(content)
    source = open_source(file)
    assert values(source) == [("x.tar/0", 0)]
    ((name, reason),) = source.unlisted
    assert name == str(file) and "Error: " in reason


def test_a_table_damaged_in_the_middle_is_named(tmp_path):
    path = tmp_path / "x.parquet"
    table = pa.table({"path": ["a", "b"], "image": [png(1), png(2)]})
    pq.write_table(table, path, compression="none")
    content = path.read_bytes()
    for damaged in (
        content[:4] + bytes(36) + content[40:],
        content.replace(b"\1\0\0\0a\1\0\0\0b", b"\1\0\0\0\xff\1\0\0\0b"),
    ):
        assert damaged != content
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"x\.parquet to be a table but got"):
            list(open_source(path))


def test_a_cut_tar_file_gives_what_it_has(tmp_path):
    file = tmp_path / "x.tar"
    with tarfile.open(file, "w") as tar:
        for sample in range(3):
            add(tar, f"{sample}.png", png(sample))
    whole = file.read_bytes()
    file.write_bytes(whole[:1024] + b"\xff" * 512 + whole[1536:])
    source = open_source(file)
    assert values(source) == [("x.tar/0", 0)]
    ((name, reason),) = source.unlisted
    assert name == str(file) and reason == "ReadError: damaged or cut after 1 members"
    file.write_bytes(whole[:3072])
    assert len(values(source)) == 3
    assert len(source.unlisted) == 1
    file.write_bytes(b"no tar file")
    assert values(source) == [] and len(source.unlisted) == 1


@pytest.fixture
def memory(folder):
    """The folder, a list, a table and a tar file in a file system that has URLs."""
    system = fsspec.filesystem("memory")
    system.put(f"{folder}/", "/pictures/", recursive=True)
    system.rm("/pictures/a-1.png")
    system.pipe("/pictures/notes.md", b"no picture")
    system.pipe("/list.txt", b"pictures/b.png\nmemory://pictures/a/2.png\n")
    rows = pa.table({"path": ["pictures/a.png"], "label": [7]})
    with system.open("/table.parquet", "wb") as file:
        pq.write_table(rows, file)
    shard = io.BytesIO()
    with tarfile.open(fileobj=shard, mode="w") as tar:
        add(tar, "x.png", png(9))
        add(tar, "x.cls", b"3")
    system.pipe("/shard-0.tar", shard.getvalue())
    yield system
    system.store.clear()


@pytest.mark.parametrize(
    ("name", "keep", "expected"),
    [
        (
            "memory://pictures/",
            [],
            [("a/10.png", 2), ("a/2.png", 1), ("a.png", 3), ("b.png", 0)],
        ),
        (
            "memory://list.txt",
            [],
            [("pictures/b.png", 0), ("memory://pictures/a/2.png", 1)],
        ),
        ("memory://table.parquet", ["label"], [("pictures/a.png", 3, 7)]),
        ("memory://shard-{0..0}.tar", ["cls"], [("shard-0.tar/x", 9, "3")]),
    ],
)
def test_every_source_by_its_url(memory, name, keep, expected):
    source = open_source(name, keep=keep)
    assert sorted(values(source)) == sorted(expected)
    assert source.count() == len(expected)
    if name.endswith("pictures/"):
        assert list(source) == list(source)
        assert source.others == ["notes.md"]


def test_a_remote_image_that_is_gone_is_an_oserror(memory):
    (item,) = open_source("memory://table.parquet")
    memory.rm("/pictures/a.png")
    with pytest.raises(OSError):
        opened(item.place)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("none", {}, "a folder of images at .*none but found no folder"),
        ("none.txt", {}, "a file at .*none.txt but found none"),
        ("none.tar", {}, "a file at .*none.tar but found none"),
        ("x-{a..b}.tar", {}, r"braces such as \{000..127\} but got"),
        ("text.parquet", {}, "to be a table but got"),
        ("x.parquet", {"column": "photo"}, "the columns photo but it has image, label"),
        ("x.parquet", {"keep": ["a"]}, "the columns image, a but it has image, label"),
        ("x.parquet", {"column": "label"}, "label of .* paths or bytes but got int64"),
        ("url.parquet", {}, "image of .* to hold paths or bytes but got struct<url"),
        (".", {"keep": ["label"]}, "a table or tar files with columns label"),
        ("x.tar", {"column": "image"}, "no column with tar files but got image"),
        ("memory://none", {}, "a folder of images at memory://none but found no"),
        ("memory://none.txt", {}, "a file at memory://none.txt but found none"),
    ],
)
def test_what_is_no_source(tmp_path, name, options, message):
    pq.write_table(pa.table({"image": ["a"], "label": [1]}), tmp_path / "x.parquet")
    pq.write_table(pa.table({"image": [{"url": "a"}]}), tmp_path / "url.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises((OSError, ValueError), match=message):
        open_source(name if ":" in name else f"{tmp_path}/{name}", **options)
