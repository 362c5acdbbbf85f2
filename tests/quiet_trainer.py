"""Lightning's Trainer, on the CPU and without any output."""

import pytorch_lightning as pl


def trainer(*callbacks, **options):
    quiet = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "max_epochs": 2,
        "log_every_n_steps": 1,
    }
    return pl.Trainer(callbacks=list(callbacks), **quiet | options)
