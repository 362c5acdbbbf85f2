"""Run folders as `rkdo train` leaves them, but without a training."""

import csv

import torch
import yaml

CONFIG = {
    "recipe": "simclr",
    "loss": "icon",
    "loss_options": {"temperature": 0.5},
    "data": "digits",
    "field": None,
    "field_options": None,
    "epochs": 2,
    "batch_size": 64,
    "limit": None,
    "image_size": None,
    "seed": 0,
}
KNN = (0.5, 0.75)  # after each epoch


def write_run(folder, *, knn=KNN, done=2, samples=100, lightning="2.5.0", **config):
    """A run that logs a loss and an accuracy after each epoch of ten steps.

    `knn=None` leaves no metrics, and `done=None` no checkpoint.
    """
    folder.mkdir(parents=True)
    config = CONFIG | config
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    if knn is not None:
        with (folder / "metrics.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", "knn", "step", "train_loss"])
            for epoch, accuracy in enumerate(knn):
                writer.writerow([epoch, "", 10 * epoch + 9, 5 - accuracy])
                writer.writerow([epoch, accuracy, 10 * epoch + 9, ""])
    if done is not None:
        progress = {"current": {"processed": done}}
        checkpoint = {
            "global_step": 10 * done,
            "pytorch-lightning_version": lightning,
            "loops": {"fit_loop": {"epoch_progress": progress}},
            "rkdo": {"settings": {"num_samples": samples, "num_classes": 10}},
        }
        torch.save(checkpoint, folder / "last.ckpt")
    return folder
