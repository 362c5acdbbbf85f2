import field_recursion
import numpy as np
import results
from PIL import Image


def test_runs_tables_and_the_plot(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    arrays = {
        name: generator.integers(0, 255, (count, 32, 32, 3), dtype=np.uint8)
        for name, count in (("x", 256), ("tx", 30))
    } | {"y": np.arange(256) % 2, "ty": np.arange(30) % 2}
    np.savez(tmp_path / "noise.npz", **arrays)
    monkeypatch.setattr(field_recursion, "EPOCHS", {"cifar10": 1})
    monkeypatch.setattr(field_recursion, "COUPLINGS", (0.5,))
    file = tmp_path / "results.jsonl"
    source = {"cifar10": str(tmp_path / "noise.npz")}
    for part in range(2):
        field_recursion.run_part(file, source, 1, part, 2)
    rows = results.read(file)
    arms = field_recursion.arms_of("cifar10")
    assert {arm.name for arm in arms} == {name for name, *_ in rows}
    for arm in arms:
        (point,) = rows[arm.name, 1, 0]["curve"]
        assert ("purity" in point) == (arm.weight is not None)
    # Two classes of noise: what the neighbours share is chance.
    fixed = rows["cifar10, coupling 0, weight 0.5", 1, 0]["curve"][0]
    assert 0.4 < fixed["purity"] < 0.6
    table = field_recursion.report(rows)
    assert table.count("\n") == len(arms) + 1
    field_recursion.main(["plot", str(file), str(tmp_path / "curves.png")])
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.height > picture.width > 300


def test_arms_have_names_of_their_own():
    for data in field_recursion.EPOCHS:
        arms = field_recursion.arms_of(data)
        assert len({arm.name for arm in arms}) == len(arms) == 14
