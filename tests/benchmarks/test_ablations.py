import ablations
import numpy as np
import pytest
from ablations import ABLATIONS, Ablation, main
from checkout import ROOT
from held import load_held
from held_run import fit_arm

from rkdo_plugin import IConLoss, ResponseField, RKDOLoss
from rkdo_plugin.recipes.training.settings import RunSettings


@pytest.fixture
def noise(tmp_path, monkeypatch):
    """A batch of small images, an epoch of it, and an ablation of two values."""
    generator = np.random.default_rng(0)
    arrays = {
        name: generator.integers(0, 255, (count, 8, 8, 1), dtype=np.uint8)
        for name, count in (("x", 256), ("tx", 30))
    } | {"y": np.arange(256) % 2, "ty": np.arange(30) % 2}
    np.savez(tmp_path / "noise.npz", **arrays)
    monkeypatch.setattr(ablations, "EPOCHS", 1)
    short = ABLATIONS["field-start"].arms
    arms = {value: short[value] for value in ("no field", "pixels")}
    monkeypatch.setitem(ABLATIONS, "field-start", Ablation("start", "no field", arms))
    return str(tmp_path / "noise.npz")


def run(noise, file, seeds=1):
    words = ["run", "field-start", "--data", noise, "--seeds", str(seeds), str(file)]
    main(words)


def test_a_file_starts_with_its_command_and_is_not_run_twice(
    noise, tmp_path, monkeypatch, capsys
):
    file = tmp_path / "field-start.csv"
    run(noise, file)
    first, header, *rows = file.read_text().splitlines()
    assert first == (
        "# python benchmarks/ablations.py run field-start "
        f"--data {noise} --seeds 1 {file}"
    )
    assert header.split(",") == [*ablations.HEADER]
    assert [row.split(",")[:4] for row in rows] == [
        ["field-start", value, "1", "0"] for value in ("no field", "pixels")
    ]
    # An interrupted file gets the row that it lacks, and the same one but for its time.
    file.write_text("\n".join([first, header, rows[0]]) + "\n")
    run(noise, file)
    *_, again = file.read_text().splitlines()
    assert again.rpartition(",")[0] == rows[1].rpartition(",")[0]
    monkeypatch.setattr(ablations, "run_one", None)
    run(noise, file)
    assert len(file.read_text().splitlines()) == 4
    main(["report", str(tmp_path)])
    assert "| no field (default) | 1 | " in capsys.readouterr().out


def test_a_file_of_another_command_is_refused(noise, tmp_path):
    file = tmp_path / "field-start.csv"
    file.write_text("# python benchmarks/ablations.py run field-start\n")
    with pytest.raises(ValueError, match=r"Expected .* to start with .*--seeds 2"):
        run(noise, file, seeds=2)


def test_the_sampled_search_has_the_candidates_of_its_value(noise):
    data = load_held(noise)

    def left_out(value, candidates):
        arm = ABLATIONS["field-search"].arms[value]
        short = arm | {"batch_size": 64, "epochs": 3}
        settings = ablations.settings_of(short, data, 0)
        return ablations.run_one(settings, data, candidates)["leave_one_out"]

    sampled = "sampled, 32 candidates"
    assert ABLATIONS["field-search"].arms[sampled][ablations.CANDIDATES] == 32
    exact = left_out("exact", None)
    assert left_out(sampled, 256) == exact  # all of them
    assert left_out(sampled, 1) != exact


def test_a_checkpoint_is_that_of_the_same_seed_without_a_field(noise, monkeypatch):
    runs = []

    def fit(settings, data, **options):
        runs.append((settings, options, fit_arm(settings, data, **options)))
        return runs[-1][-1]

    monkeypatch.setattr(ablations, "fit_arm", fit)
    data = load_held(noise)
    arms = ABLATIONS["field-start"].arms
    plain, start = (
        ablations.settings_of(arm, data, 3)
        for arm in (arms["no field"], ablations.field(ablations.CHECKPOINT))
    )
    ablations.run_one(start, data, None)
    (first, _, earlier), (second, options, _) = runs
    assert (first, second) == (plain, start)
    expected = earlier.recipe.frozen(data).embed(data.train.pixels)
    np.testing.assert_array_equal(options["features"], expected)


def test_defaults_are_those_of_the_losses_the_field_and_the_command():
    for name, ablation in ABLATIONS.items():
        assert ablation.default in ablation.arms, name
    rkdo, icon = RKDOLoss(), IConLoss()
    field = ResponseField(100, 16)
    for name, value in {
        "rkdo-coupling": rkdo.coupling,
        "rkdo-depth": rkdo.depth,
        "rkdo-detach": str(rkdo.detach_target).lower(),
        "rkdo-temperature": rkdo.temperature,
        "icon-temperature": icon.temperature,
        "field-start": RunSettings().field or "no field",
        "field-weight": field.field_weight,
        "field-neighbors": field.neighbors,
        "field-search": field.search,
    }.items():
        assert ABLATIONS[name].default == str(value), name


def test_tables_have_paired_differences_to_the_default():
    left_out = {"false": (0.90, 0.92, 0.91), "true": (0.91, 0.95, 0.93)}
    rows = {
        (value, 15, seed): {
            "leave_one_out": score,
            "knn": 0.5,
            "linear": 0.5,
            "seconds": 1.0,
        }
        for value, scores in left_out.items()
        for seed, score in enumerate(scores)
    }
    _, _, default, other = ablations.table(ABLATIONS["rkdo-detach"], rows)
    assert default.startswith("| false (default) | 3 | 91.00 ± 1.00 |  |  | 50.00")
    # 1, 3 and 2 points; Student's t of two degrees of freedom is 4.3027.
    half = 4.3027 / np.sqrt(3)
    interval = f"{2 - half:+.2f} to {2 + half:+.2f}"
    assert f"| true | 3 | 93.00 ± 2.00 | +2.00 | {interval} |" in other


def test_the_page_shows_what_the_files_say():
    """One file an ablation, made by the command in its first line."""
    folder = ROOT / "benchmarks" / "results" / "ablations"
    assert {file.stem for file in folder.iterdir()} == ABLATIONS.keys()
    for file in folder.iterdir():
        path = file.relative_to(ROOT)
        ablations.begin(file, ablations.command(file.stem, "digits", 5, path))
    page = (ROOT / "docs" / "ablations.md").read_text()
    tables = [
        line for line in ablations.report(folder).splitlines() if line.startswith("|")
    ]
    assert tables == [line for line in page.splitlines() if line.startswith("|")]
