"""What a training run leaves on disk: config.yaml and last.ckpt."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import yaml

from rkdo_plugin.export.encoder.checkpoint import load_checkpoint, record_of
from rkdo_plugin.export.encoder.image_size import ImageSize
from rkdo_plugin.publish import write_whole

CONFIG = "config.yaml"
CHECKPOINT = "last.ckpt"
MOST_VALUES = 10_000  # of a config.yaml: few bytes can stand for endlessly many


class Record(TypedDict):
    """What a run's checkpoint records under "rkdo", for exports and reports.

    Attributes:
        recipe: The registered recipe.
        settings: Its settings, as plain values.
        encoder: The registered encoder that is exported; None for a module.
        normalize: Exports divide embeddings by their norm.
        in_channels: Channels of the images.
        image_size: Height and width of the images in pixels.
        mean: Mean of each channel, of intensities in [0, 1].
        std: Standard deviation of each channel.
        data: Name of the data that the run was trained on.
        limit: Number of training images that were drawn; None for all.
        seed: Seed of the run, and of that draw.
    """

    recipe: str
    settings: dict[str, Any]
    encoder: str | None
    normalize: bool
    in_channels: int
    image_size: ImageSize
    mean: list[float]
    std: list[float]
    data: str
    limit: int | None
    seed: int


def checkpoint_of(path: Path) -> Path:
    """The checkpoint of a run folder; any other path as it is."""
    return path / CHECKPOINT if path.is_dir() else path


def create_run_folder(folder: Path, config: dict[str, Any]) -> None:
    """Create the folder of a new run, and record its settings there.

    Args:
        folder: The run's folder, new or empty.
        config: All settings on which the result depends.

    Raises:
        FileExistsError: The folder is not empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    check_run_folder(folder, config, resume=False)  # another run may have been faster
    text = yaml.safe_dump(config, sort_keys=False)
    write_whole(folder / CONFIG, text.encode(), overwrite=False)


def check_run_folder(folder: Path, config: dict[str, Any], resume: bool) -> None:
    """Check that a new run may start in a folder, or that its run may be continued.

    Args:
        folder: The run's folder.
        config: All settings on which the result depends.
        resume: Whether the folder holds a run to be continued.

    Raises:
        FileExistsError: A new run would write into a folder that is not empty.
        FileNotFoundError: There is no run to resume.
        ValueError: A setting differs from the run's own.
    """
    if not resume:
        if folder.exists() and any(folder.iterdir()):
            raise FileExistsError(
                f"Expected {folder} to be a new folder but it is not empty: choose "
                "another one, or continue the run in it with `resume`"
            )
        return
    saved = read_config(folder / CONFIG)
    config = yaml.safe_load(yaml.safe_dump(config))  # tuples are lists in the file
    for key in {**saved, **config}:
        if saved.get(key) != config.get(key):
            raise ValueError(
                f"Expected to resume {folder} with its own settings: its '{key}' is "
                f"{saved.get(key)!r} but got {config.get(key)!r}; for another one, "
                f"start a new run from the encoder of this one: `weights` {folder}"
            )


def read_config(path: Path) -> dict[str, Any]:
    """Settings in a file such as a run's config.yaml.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It holds no settings, or is no YAML.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a run's settings at {path} but got no such file"
        )
    try:
        saved = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"Expected {path} to be YAML but got: {reason}") from error
    if not isinstance(saved, dict) or not all(isinstance(key, str) for key in saved):
        raise ValueError(
            f"Expected {path} to hold settings, name: value, but got "
            f"{type(saved).__name__}"
        )
    _require_few_values(path, saved)
    return saved


def _require_few_values(path: Path, settings: dict[str, Any]) -> None:
    """Refuse settings that hold themselves, or each other again and again.

    YAML's aliases write both in a few bytes; to compare or to print them has no end.
    """
    found, left = 0, [settings]
    while left:
        value = left.pop()
        found += 1
        if found > MOST_VALUES:
            raise ValueError(
                f"Expected {path} to hold at most {MOST_VALUES:,} values but got more"
            )
        if isinstance(value, dict | list | tuple | set):
            left += [*value.values()] if isinstance(value, dict) else [*value]


def read_run(path: Path) -> dict[str, Any]:
    """Read a run's whole checkpoint: tensors and plain values, no code is ever run.

    Raises:
        OSError: The file cannot be opened.
        ValueError: The file is truncated, is no such checkpoint, or records something
            else than our recipes do.
    """
    checkpoint: dict[str, Any] = load_checkpoint(path)
    if not isinstance(checkpoint, dict) or "global_step" not in checkpoint:
        raise ValueError(
            f"Expected {path} to be a Lightning checkpoint but it has no global_step"
        )
    record_of(path, checkpoint)
    return checkpoint


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a table of comma-separated values, by the names of its columns.

    A line without an end is left out: a killed process began it. A value that a line
    lacks is None.

    Raises:
        ValueError: The file is no such table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(line for line in file if line.endswith("\n"))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(
            f"Expected {path} to be comma-separated values but got: {error}"
        ) from error
