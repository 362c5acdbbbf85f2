"""torchvision's and timm's download caches, filled with random weights.

The loaders are the real ones: they find the file in their cache and ask no network.
"""

from pathlib import Path
from urllib.error import URLError

import safetensors.torch
import torch
import torchvision
from torch import nn

COMMIT = "0" * 40


def lively(network: nn.Module) -> nn.Module:
    """The network with norms that no fresh network has, in evaluation mode."""
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        if "running_mean" in name or (value.ndim == 1 and name.endswith("bias")):
            nn.init.normal_(value, std=0.1)
        elif "running_var" in name or (value.ndim == 1 and name.endswith("weight")):
            nn.init.uniform_(value, 0.5, 1.5)
    return network.eval()


def publish_torchvision(folder: Path, monkeypatch, model: str) -> nn.Module:
    """Put random weights where torchvision keeps its own; the classifier included."""
    monkeypatch.setenv("TORCH_HOME", str(folder))
    network = lively(torchvision.models.get_model(model))
    url = torchvision.models.get_model_weights(model).DEFAULT.url
    cached = folder / "hub" / "checkpoints" / url.rpartition("/")[2]
    cached.parent.mkdir(parents=True)
    torch.save(network.state_dict(), cached)
    return network


def publish_timm(folder: Path, monkeypatch, model: str) -> nn.Module:
    """Put random weights where the Hugging Face hub keeps those of timm."""
    import timm

    without_network(folder, monkeypatch)
    network = lively(timm.create_model(model))
    repository = timm.get_pretrained_cfg(model).hf_hub_id.replace("/", "--")
    cached = folder / f"models--{repository}"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(COMMIT)
    snapshot = cached / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    safetensors.torch.save_file(weights, snapshot / "model.safetensors")
    return network


def without_network(folder: Path, monkeypatch) -> None:
    """Empty caches, and nothing to fill them from."""

    def refused(url: str, *args: object, **options: object) -> None:
        raise URLError(f"no route to {url}")

    monkeypatch.setenv("TORCH_HOME", str(folder))
    monkeypatch.setattr("torch.hub.download_url_to_file", refused)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
