import field_cifar
import numpy as np
import pytest
import results
from held import of_arrays

from rkdo_plugin import ResponseField


def cells(printed):
    """The rows of the last table."""
    lines = [line for line in printed.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_the_table_of_all_arms_and_a_second_call_that_adds_nothing(
    tmp_path, arrays, capsys
):
    np.savez(tmp_path / "three.npz", **arrays)
    np.save(tmp_path / "teacher.npy", np.eye(3)[arrays["y"][:48]])
    file = tmp_path / "results.jsonl"
    call = [
        *("--device", "cpu", "--encoder", "small-convnet", "--batch-size", "24"),
        *("--data", str(tmp_path / "three.npz"), "--results", str(file)),
        *("--teacher", str(tmp_path / "teacher.npy"), "--precision", "bf16-mixed"),
        *("--fields", "hog", "one-hot", "oracle", "--limit", "48"),
    ]
    first = [*call, "--epochs", "1"]
    field_cifar.main(first)
    printed = capsys.readouterr().out
    columns, *rows = cells(printed)
    assert [row[0] for row in rows] == [
        "SimCLR",
        "SimCLR, field HOG",
        "SimCLR, field one-hot",
        "SimCLR, field by the labels",
        "SimCLR, field teacher.npy",
    ]
    assert "three: 48 training images, small-convnet, batch 24, bf16-mixed" in printed
    held = results.read(file)
    for row in rows:
        shown = dict(zip(columns, row, strict=True))
        scores = held[row[0], 1, 0]
        assert shown["kNN"] == f"{100 * scores['knn']:.2f}"
        assert shown["linear"] == f"{100 * scores['linear']:.2f}"
        assert float(shown["s / step"]) == pytest.approx(scores["step"], abs=1e-4)
        assert (shown["epochs"], shown["seeds"], shown["device"]) == ("1", "1", "CPU")
    lines = file.read_text()
    field_cifar.main(first)
    assert file.read_text() == lines
    assert cells(capsys.readouterr().out) == [columns, *rows]
    # An interrupted run goes on where it was, and longer ones join it.
    file.write_text("".join(lines.splitlines(keepends=True)[:3]))
    field_cifar.main([*first, "--seeds", "0", "1"])
    assert results.read(file).keys() == {
        (name, 1, seed) for name, *_ in rows for seed in (0, 1)
    }
    assert file.read_text().startswith("".join(lines.splitlines(keepends=True)[:3]))
    with pytest.raises(ValueError, match=r"'batch_size': 24.* name another file"):
        field_cifar.main([*first, "--batch-size", "12"])


def test_there_is_no_arm_of_a_teacher_without_one():
    assert list(field_cifar.arms(["hog"], None).values()) == [None, "hog"]


def test_neighbours_by_the_labels_are_of_the_same_class(arrays):
    data = of_arrays("three", **arrays)
    field = ResponseField(num_samples=len(data.train), dim=2)
    field.initialize(field_cifar.features_of(field_cifar.ORACLE, data))
    assert (arrays["y"][field.ids] == arrays["y"][:, None]).all()
    assert len(np.unique(field.ids)) > 60  # they are not the same few for all
