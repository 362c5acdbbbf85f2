"""Runs of a comparison that train nothing; other processes import them by name."""

import os
import signal
import time


def good(planned, images):
    """Score by temperature, length and seed, and say who and with how many threads."""
    settings = planned.settings
    temperature = (settings.loss_options or {}).get("temperature", 1)
    return {
        "score": 0.5
        + 0.01 * settings.epochs
        - 0.1 * temperature
        + 1e-4 * settings.seed,
        "steps": settings.epochs * (len(images.train) // settings.batch_size),
        "seconds": 0.01 * (1 if settings.loss == "ntxent" else 2),
        "process": os.getpid(),
    }


def dying(planned, images):
    """The process dies where the seed is 1."""
    if planned.settings.seed == 1:
        os._exit(1)
    time.sleep(0.1)
    return good(planned, images)


def interrupted(planned, images):
    """Ctrl-C reaches the process where the seed is 1."""
    if planned.settings.seed == 1:
        signal.raise_signal(signal.SIGINT)
    return good(planned, images)
