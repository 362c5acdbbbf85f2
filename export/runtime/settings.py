"""Settings of each provider, and the options that onnxruntime gets for them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, get_args

from rkdo_plugin.export.encoder.images import MAX_BATCH
from rkdo_plugin.export.file.metadata import INPUT

Provider = Literal["auto", "cpu", "cuda", "tensorrt"]
Options = dict[str, str]


@dataclass(frozen=True)
class CPUSettings:
    """Settings of provider "cpu".

    Args:
        threads: Number of threads that one operator may use. By default one for each
            core.
        optimize: Let onnxruntime rewrite the graph. Switch it off to find out what the
            rewriting changes.

    Raises:
        ValueError: `threads` is below 1.

    Example:
        >>> CPUSettings(threads=0)
        Traceback (most recent call last):
        ValueError: Expected `threads` to be at least 1 but got 0
    """

    provider: ClassVar[str] = "cpu"

    threads: int | None = None
    optimize: bool = True

    def __post_init__(self) -> None:
        _require_at_least(1, threads=self.threads)


@dataclass(frozen=True)
class CUDASettings:
    """Settings of provider "cuda".

    Args:
        device: Number of the GPU, as CUDA counts them.
        profile: "parity" computes in float32 throughout, which the parity gate of the
            export needs. "speed" computes matrix products and convolutions in TF32,
            which keeps 10 bits of each factor: compare embeddings before you rely on
            it.
        memory_limit: Bytes that the session may reserve for activations and weights.
            By default all of the GPU.
        nhwc: Compute convolutions with channels last.
        cuda_graphs: Batch sizes to capture as CUDA graphs when the session opens. They
            need more memory and launch fewer kernels. Any other batch is padded to the
            next size, or split if it is above the largest. By default there are none.
            Nothing else in the process may use a GPU while the session opens.

    Raises:
        TypeError: `cuda_graphs` is not a tuple of integers.
        ValueError: A setting is out of range.

    Example:
        >>> CUDASettings(cuda_graphs=(1, 8, 32)).options()["enable_cuda_graph"]
        '1'
    """

    provider: ClassVar[str] = "cuda"

    device: int = 0
    profile: Literal["parity", "speed"] = "parity"
    memory_limit: int | None = None
    nhwc: bool = False
    cuda_graphs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _require_at_least(0, device=self.device)
        _require_at_least(1, memory_limit=self.memory_limit)
        if self.profile not in ("parity", "speed"):
            raise ValueError(
                f"Expected `profile` to be parity or speed but got '{self.profile}'"
            )
        if not isinstance(self.cuda_graphs, tuple) or any(
            type(batch) is not int for batch in self.cuda_graphs
        ):
            raise TypeError(
                "Expected `cuda_graphs` to be a tuple of batch sizes, such as (1, 8, "
                f"32), but got {self.cuda_graphs!r}"
            )
        for batch in self.cuda_graphs:
            _require_at_least(1, cuda_graphs=batch)

    def options(self) -> Options:
        """Return the options of onnxruntime's CUDAExecutionProvider."""
        options = {
            "device_id": str(self.device),
            # The default grows by powers of two: other programs would lack the memory.
            "arena_extend_strategy": "kSameAsRequested",
            # The default, EXHAUSTIVE, measures again at every new batch size.
            "cudnn_conv_algo_search": "HEURISTIC",
            "do_copy_in_default_stream": "1",
            "use_tf32": str(int(self.profile == "speed")),
            "prefer_nhwc": str(int(self.nhwc)),
            "enable_cuda_graph": str(int(bool(self.cuda_graphs))),
        }
        if self.memory_limit is not None:
            options["gpu_mem_limit"] = str(self.memory_limit)
        return options


@dataclass(frozen=True)
class TensorRTSettings:
    """Settings of provider "tensorrt".

    TensorRT measures kernels and chooses the fastest. It may choose TF32, unless the
    environment has NVIDIA_TF32_OVERRIDE=0: compare embeddings on the machine that
    serves them. There is no setting for the precision, because it is in the graph.

    Args:
        device: Number of the GPU, as CUDA counts them.
        max_batch: Number of images in the largest batch of an engine. More images run
            in several batches.
        opt_batch: Batch size that kernels are chosen for. By default 32, or `max_batch`
            if that is less.
        workspace: Bytes that a kernel may use beside weights and activations.
        cache: Folder of engines and timings, one subfolder for each combination of
            model, versions and GPU. A start that has to build them takes much longer.

    Raises:
        ValueError: A setting is out of range.
    """

    provider: ClassVar[str] = "tensorrt"

    device: int = 0
    max_batch: int = MAX_BATCH
    opt_batch: int | None = None
    workspace: int | None = None
    # Not computed at import: a container's user may have no home.
    cache: Path = field(
        default_factory=lambda: Path.home() / ".cache" / "rkdo" / "tensorrt"
    )

    def __post_init__(self) -> None:
        _require_at_least(0, device=self.device)
        _require_at_least(1, max_batch=self.max_batch, opt_batch=self.opt_batch)
        _require_at_least(1, workspace=self.workspace)
        if self.opt_batch is not None and self.opt_batch > self.max_batch:
            raise ValueError(
                f"Expected `opt_batch` to be at most `max_batch` = {self.max_batch} "
                f"but got {self.opt_batch}"
            )

    def options(self, image: Sequence[int], cache: Path) -> Options:
        """Return the options of onnxruntime's TensorrtExecutionProvider.

        Args:
            image: (H, W, C) of the images.
            cache: Folder of this model's engines on this machine.
        """
        opt_batch = self.opt_batch or min(32, self.max_batch)
        shapes = {"min": 1, "opt": opt_batch, "max": self.max_batch}
        options = {
            "device_id": str(self.device),
            # This provider's parser refuses 1 and 0.
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": str(cache),
            "trt_timing_cache_enable": "True",
            "trt_timing_cache_path": str(cache),
            **{
                f"trt_profile_{which}_shapes": f"{INPUT}:"
                + "x".join(map(str, [batch, *image]))
                for which, batch in shapes.items()
            },
        }
        if self.workspace is not None:
            options["trt_max_workspace_size"] = str(self.workspace)
        return options

    def cuda(self) -> CUDASettings:
        """Return settings for the nodes that TensorRT leaves to CUDA."""
        return CUDASettings(device=self.device)


Settings = CPUSettings | CUDASettings | TensorRTSettings
KINDS: dict[str, type[Settings]] = {
    kind.provider: kind for kind in (CPUSettings, CUDASettings, TensorRTSettings)
}


def settings_of(provider: Provider | Settings) -> Settings:
    """Return the settings of a provider.

    Args:
        provider: "cpu", "cuda" or "tensorrt", for its default settings. Settings are
            returned as they are.

    Raises:
        TypeError: `provider` is neither a name nor settings.
        ValueError: The name is unknown.
    """
    if isinstance(provider, CPUSettings | CUDASettings | TensorRTSettings):
        return provider
    if not isinstance(provider, str):
        names = ", ".join(kind.__name__ for kind in KINDS.values())
        raise TypeError(
            f"Expected `provider` to be a name or one of {names} but got "
            f"{type(provider).__name__}"
        )
    require_provider(provider)
    return KINDS[provider]()


def require_provider(provider: str) -> None:
    """Check the name of a provider.

    Raises:
        ValueError: The name is unknown.
    """
    known = get_args(Provider)
    if provider not in known:
        raise ValueError(
            f"Expected `provider` to be one of {', '.join(known)} but got '{provider}'"
        )


def _require_at_least(least: int, **values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < least:
            raise ValueError(
                f"Expected `{name}` to be at least {least} but got {value}"
            )
