"""Two processes that share a batch train as one does with all of it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import training_processes
import yaml

TESTS = Path(training_processes.__file__).parent


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = [str(TESTS / "training_processes.py"), str(folder)]
    subprocess.run(
        [sys.executable, *torchrun, *script],
        check=True,
        capture_output=True,
        timeout=300,
        cwd=folder,
    )
    return folder


@pytest.mark.parametrize("name", training_processes.RUNS)
def test_parameters_after_five_steps_are_those_of_one_process(
    two_processes, tmp_path, name
):
    training_processes.run(name, tmp_path)
    one, two = (
        torch.load(folder / name / "last.ckpt", weights_only=True)
        for folder in (tmp_path, two_processes)
    )
    assert one["global_step"] == two["global_step"] >= 5
    for key, value in one["state_dict"].items():
        torch.testing.assert_close(
            two["state_dict"][key], value, atol=1e-6, rtol=0, msg=lambda m, k=key: k + m
        )


def test_the_command_starts_its_other_process(tmp_path):
    out = tmp_path / "run"
    command = (
        f"train --limit 128 --batch-size 64 --epochs 1 --devices 2 --strategy ddp "
        f"--workers 0 --recipe.optimizer sgd --out {out}"
    )
    subprocess.run(
        [sys.executable, "-m", "rkdo_plugin.cli", *command.split()],
        check=True,
        capture_output=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert torch.load(out / "last.ckpt", weights_only=True)["global_step"] == 2
    assert yaml.safe_load((out / "config.yaml").read_text())["batch_size"] == 64


def test_a_batch_that_cannot_be_shared_out(tmp_path):
    with pytest.raises(ValueError, match="multiple of the 2 processes but got 63"):
        training_processes.run("simclr", tmp_path, devices=2, batch_size=63)
    assert not list(tmp_path.iterdir())
