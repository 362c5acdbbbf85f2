"""Train a recipe: the loop, the loader, checkpoints and logs of a run."""
