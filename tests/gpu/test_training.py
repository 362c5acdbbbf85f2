"""`rkdo train` on the device: mixed precision, exact resume, two processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import training_processes
from runs import CtrlC, assert_equal, state, train

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("deterministic")]

TESTS = Path(training_processes.__file__).parent
RUN = {"epochs": 1, "batch_size": 64, "workers": 0, "precision": "bf16-mixed"}
KINDS = {
    "images": {"augment": "images"},
    "batches": {"augment": "batches"},
    "field": {"field": "pixels"},
    "field, batches": {"field": "pixels", "augment": "batches", "loss": "rkdo"},
}


class Devices(pl.Callback):
    """Where a run's weights, views and field are."""

    def __init__(self):
        self.seen = set()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen |= {pl_module.device.type, *(view.device.type for view in batch[0])}

    def on_train_end(self, trainer, pl_module):
        for callback in trainer.callbacks:
            field = getattr(callback, "field", None)
            if field is not None:
                self.seen.add(field.embeddings.device.type)
                assert field.ids.device.type == "cpu"


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_epoch_in_bfloat16_equals_a_whole_one(
    kind, device, on_gpu, tmp_path
):
    options = RUN | KINDS[kind] | {"limit": 1024 if on_gpu else 256}
    devices = Devices()
    train(out=tmp_path / "whole", callbacks=[devices], **options)
    assert devices.seen == {device.type}
    with pytest.raises(KeyboardInterrupt, match="after step 2 of"):
        train(out=tmp_path / "parts", callbacks=[CtrlC(1)], **options)
    train(out=tmp_path / "parts", resume=True, **options)
    assert_equal(state(tmp_path / "whole"), state(tmp_path / "parts"))


@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_other_precisions_train(precision, device, tmp_path):
    """With float16 the gradients are scaled; on a CPU Lightning has no scaler."""
    if precision == "16-mixed" and device.type == "cpu":
        pytest.skip("needs a GPU: Lightning scales gradients there alone")
    options = RUN | {"precision": precision, "limit": 256, "epochs": 2}
    run = train(out=tmp_path / "run", **options)
    assert run.steps == 8
    assert all(value.isfinite().all() for value in run.recipe.state_dict().values())


@pytest.mark.usefixtures("only_gpu")
@pytest.mark.parametrize("name", ["simclr", "simclr-field", "byol"])
def test_two_gpus_train_as_one_does(name, tmp_path):
    """In float32 without TF32, without batch norm, after five steps or more."""
    if torch.cuda.device_count() < 2:
        pytest.skip(f"needs two GPUs, and there is {torch.cuda.device_count()}")
    folders = [tmp_path / "one", tmp_path / "two"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    for count, folder in enumerate(folders, 1):
        folder.mkdir()
        script = [str(TESTS / "training_processes.py"), str(folder), str(count), name]
        subprocess.run(
            [sys.executable, *torchrun, str(count), *script],
            check=True,
            timeout=120,
            cwd=folder,
            env=os.environ | {"NVIDIA_TF32_OVERRIDE": "0"},
        )
    one, two = (
        torch.load(folder / name / "last.ckpt", weights_only=True, map_location="cpu")
        for folder in folders
    )
    assert one["global_step"] == two["global_step"] >= 5
    for key, value in one["state_dict"].items():
        found = two["state_dict"][key]
        torch.testing.assert_close(found, value, atol=1e-5, rtol=0, msg=key)
