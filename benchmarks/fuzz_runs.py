"""What fuzz.py attacks: readers of checkpoints, runs and comparisons."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("LIGHTLY_DID_VERSION_CHECK", "True")  # it would ask the network

import safetensors.torch
from fuzz_content import (
    DIM,
    GRAY,
    PREPARED,
    Evil,
    Target,
    as_json,
    as_picture,
    as_torch,
    as_yaml,
    at,
    finite,
    network,
    target,
)

from rkdo_plugin import FieldCallback, ResponseField
from rkdo_plugin.export import freeze
from rkdo_plugin.recipes.comparison.results import Results
from rkdo_plugin.recipes.evaluation.run_folder import check_run_folder
from rkdo_plugin.recipes.evaluation.trained import load_trained
from rkdo_plugin.recipes.field.inspect import load_run_field
from rkdo_plugin.recipes.report.arms import arms_of
from rkdo_plugin.recipes.report.comparisons import SHARED, read_found_comparison
from rkdo_plugin.recipes.report.runs import read_found_run
from rkdo_plugin.recipes.training.logs import Metrics


def sound(encoder: Any) -> None:
    """Check an encoder that was accepted. Finite weights may give other embeddings."""
    assert encoder.embed(GRAY).shape == (1, encoder.dim)
    for values in encoder.state_dict().values():
        finite(values)


@target
def checkpoint(folder: Path) -> Target:
    """Our checkpoints, and those of training scripts."""
    weights = dict(network().state_dict())
    record = {"encoder": "pixels", "normalize": True, "in_channels": 3, **PREPARED}
    whole = {"state_dict": {}, "epoch": 1, "rkdo": record}
    whole["state_dict"] = {f"backbone.{k}": v for k, v in weights.items()}
    seeds = [
        as_torch(whole),
        as_torch(weights),
        as_torch({"model": weights, "args": [Evil()]}),
        as_torch(weights, _use_new_zipfile_serialization=False),
    ]

    def read(path: Path) -> None:
        sound(freeze(path))
        with contextlib.suppress(ValueError):
            freeze(path, network(), **PREPARED)

    return Target(
        seeds,
        at(folder / "x.ckpt", read),
        trees=[whole],
        written=as_torch,
        lavish=True,
    )


@target
def tensors(folder: Path) -> Target:
    """Weights as safetensors."""
    weights = dict(network().state_dict())
    seeds = [safetensors.torch.save(weights)]
    size = int.from_bytes(seeds[0][:8], "little")
    tree = json.loads(seeds[0][8 : 8 + size])

    def written(tree: Any) -> bytes:
        head = as_json(tree)
        return len(head).to_bytes(8, "little") + head + seeds[0][8 + size :]

    def read(path: Path) -> None:
        sound(freeze(path, network(), **PREPARED))

    return Target(
        seeds, at(folder / "x.safetensors", read), (ValueError,), [tree], written
    )


@target
def run(folder: Path) -> Target:
    """The checkpoint of a run, for reports, evaluations and the field's pictures."""
    images = folder / "images"
    images.mkdir()
    for number in range(3):
        (images / f"{number}.png").write_bytes(as_picture("PNG"))
    field = ResponseField(3, DIM, neighbors=2)
    callback = FieldCallback(field)
    weights = {f"backbone.{k}": v for k, v in network().state_dict().items()}
    settings = {"encoder": "pixels", "num_samples": 3, "num_classes": 0}
    record = {
        **{"recipe": "simclr", "settings": settings, "encoder": "pixels"},
        **{"normalize": True, "in_channels": 3, "data": str(images), "limit": None},
        **{"seed": 0, **PREPARED},
    }
    whole = {
        **{"state_dict": weights, "global_step": 3, "epoch": 1, "rkdo": record},
        "callbacks": {type(callback).__qualname__: callback.state_dict()},
        "loops": {"fit_loop": {"epoch_progress": {"current": {"processed": 2}}}},
        "pytorch-lightning_version": "2.5.0",
    }
    config = {"data": str(images), "epochs": 2, "seed": 0, "limit": None}
    config |= {"image_size": None, "field": "one-hot", "field_options": None}
    (folder / "config.yaml").write_bytes(as_yaml(config))

    def read(path: Path) -> None:
        found = read_found_run(path.parent)
        str((arms_of([found])[0].name, found.state))
        finite(load_run_field(path.parent).field.row_entropy())
        trained = load_trained(path.parent)
        sound(trained.encoder)

    return Target(
        [as_torch(whole)],
        at(folder / "last.ckpt", read),
        trees=[whole],
        written=as_torch,
        lavish=True,
    )


@target
def config(folder: Path) -> Target:
    """The settings of a run."""
    tree = {
        **{"recipe": "simclr", "loss": "icon", "loss_options": {"temperature": 0.5}},
        **{"data": "digits", "field": None, "field_options": None, "epochs": 2},
        **{"batch_size": 64, "limit": None, "image_size": [8, 6], "seed": 0},
    }
    bomb = "a0: &a0 [x, x]\n"
    bomb += "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    loop = b"loss_options: &l {a: *l}\n"
    seeds = [as_yaml(tree), bomb.encode() + as_yaml(tree), as_yaml(tree) + loop]
    seeds += [as_yaml(tree) + b"data: !!python/object/apply:os.system ['true']\n"]

    def read(path: Path) -> None:
        found = read_found_run(path.parent)
        (arm,) = arms_of([found])
        str((arm.name, arm.objective, found.state))
        check_run_folder(path.parent, found.config, resume=True)

    return Target(
        seeds, at(folder / "config.yaml", read), (ValueError,), [tree], as_yaml
    )


@target
def metrics(folder: Path) -> Target:
    """What a run logged."""
    (folder / "config.yaml").write_text("{data: digits, epochs: 2, seed: 0}")
    seeds = [b"epoch,knn,step,train_loss\r\n0,,9,4.5\r\n0,0.5,9,\r\n1,0.75,19,4\r\n"]

    def read(path: Path) -> None:
        found = read_found_run(path.parent)
        for points in found.curves.values():
            finite(points)
        Metrics(path, 100)  # as a run that goes on after as many steps

    return Target(seeds, at(folder / "metrics.csv", read))


@target
def comparison(folder: Path) -> Target:
    """What a comparison was of."""
    shared = dict.fromkeys(SHARED, 1) | {"data": "digits", "recipe": "simclr"}
    tree = {"settings": shared, "code": "rkdo-plugin 0.1", "data": "f00"}
    (folder / "table.md").write_text("| kNN |")
    (folder / "curves.csv").write_text(
        "contender,steps,seed,score,error\nicon,9,0,1,\n"
    )

    def read(path: Path) -> None:
        found = read_found_comparison(path.parent)
        assert isinstance(found.code, str) and isinstance(found.fingerprint, str)

    return Target(
        [as_json(tree)],
        at(folder / "comparison.json", read),
        (ValueError,),
        [tree],
        as_json,
    )


@target
def curves(folder: Path) -> Target:
    """The scores of a comparison."""
    seeds = [
        b"contender,steps,seed,score,error\n"
        b"icon,9,0,0.5,\nicon,9,1,0.25,\nrkdo,9,0,,ValueError: x\nrkdo,9,1,0.75,\n"
    ]
    about = {"settings": dict.fromkeys(SHARED, 1), "code": "x", "data": "f00"}
    (folder / "comparison.json").write_bytes(as_json(about))
    (folder / "table.md").write_text("| kNN |")

    def read(path: Path) -> None:
        found = read_found_comparison(path.parent)
        for name in found.scores:
            finite([(point.step, point.mean) for point in found.curve(name)])

    return Target(seeds, at(folder / "curves.csv", read))


@target
def results(folder: Path) -> Target:
    """The finished runs of a comparison that goes on."""
    shared = {"code": "rkdo-plugin 0.1", "data": "f00"}
    tree = [
        {"purpose": "result", "settings": {"seed": n}, **shared, "knn": 0.5}
        for n in range(2)
    ]

    def written(tree: Any) -> bytes:
        return b"".join(as_json(row) + b"\n" for row in tree)

    def read(path: Path) -> None:
        found = Results(path.parent, shared, ("purpose", "settings"), restart=False)
        found.finished(tree[0])

    return Target(
        [written(tree)], at(folder / "runs.jsonl", read), (ValueError,), [tree], written
    )
