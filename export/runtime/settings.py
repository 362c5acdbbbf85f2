"""What can be set on each provider, and the options that onnxruntime gets for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from rkdo_plugin.export.file.metadata import INPUT

MAX_BATCH = 256  # images a run

Options = dict[str, str]


@dataclass(frozen=True)
class CPUSettings:
    """Settings of provider "cpu".

    Args:
        threads: Threads that one operator may use; one a core by default.
        optimize: Let onnxruntime rewrite the graph; off, to find out what that changes.

    Raises:
        ValueError: There would be no thread.

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
        profile: parity: float32 throughout, as the parity gate of the export demands.
            speed: matrix products and convolutions in TF32, which keeps 10 bits of
            each factor: compare embeddings before you rely on it.
        memory_limit: Bytes that the session may reserve for activations and weights;
            all of the GPU by default.
        nhwc: Keep convolutions channels last.
        cuda_graphs: Batch sizes to capture as CUDA graphs when the session opens: fewer
            launches of kernels for more memory. Any other batch is padded to the next
            size, or split above the largest. None by default. Nothing else in the
            process may use a GPU while the session opens.

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
                "Expected `cuda_graphs` to be a tuple of batch sizes, as (1, 8, 32), "
                f"but got {self.cuda_graphs!r}"
            )
        for batch in self.cuda_graphs:
            _require_at_least(1, cuda_graphs=batch)

    def options(self) -> Options:
        """Options of onnxruntime's CUDAExecutionProvider."""
        options = {
            "device_id": str(self.device),
            # Growing by powers of two would take memory from others on the GPU.
            "arena_extend_strategy": "kSameAsRequested",
            # The default, EXHAUSTIVE, measures again for every new batch size.
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

    TensorRT chooses kernels by measuring them, and TF32 is among its choices unless
    the environment has NVIDIA_TF32_OVERRIDE=0: compare embeddings on the machine that
    serves them. Precision is not set here: it is in the graph.

    Args:
        device: Number of the GPU, as CUDA counts them.
        max_batch: Images of the largest batch of an engine; more run in several.
        opt_batch: The batch that kernels are chosen for; by default 32, or `max_batch`
            where that is less.
        workspace: Bytes that a kernel may use beside weights and activations.
        cache: Engines and timings are kept below this folder, by model, versions and
            GPU: a start that builds them takes much longer.

    Raises:
        ValueError: A setting is out of range.
    """

    provider: ClassVar[str] = "tensorrt"

    device: int = 0
    max_batch: int = MAX_BATCH
    opt_batch: int | None = None
    workspace: int | None = None
    # Not at import: a container's user may have no home.
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
        """Options of onnxruntime's TensorrtExecutionProvider.

        Args:
            image: (H, W, C) of the images.
            cache: Folder of this model's engines on this machine.
        """
        opt_batch = self.opt_batch or min(32, self.max_batch)
        shapes = {"min": 1, "opt": opt_batch, "max": self.max_batch}
        options = {
            "device_id": str(self.device),
            # This provider's parser takes no 1 or 0.
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
        """Settings for the nodes that TensorRT leaves to CUDA."""
        return CUDASettings(device=self.device)


Settings = CPUSettings | CUDASettings | TensorRTSettings


def settings_of(provider: str, settings: Settings | None) -> Settings:
    """The settings that were passed, or the provider's own.

    Args:
        provider: "cpu", "cuda" or "tensorrt".
        settings: What the user passed.

    Raises:
        TypeError: The settings are those of another provider.
    """
    kinds: tuple[type[Settings], ...] = (CPUSettings, CUDASettings, TensorRTSettings)
    (own,) = (kind for kind in kinds if kind.provider == provider)
    if settings is None:
        return own()
    if not isinstance(settings, own):
        raise TypeError(
            f"Expected `settings` to be {own.__name__} with provider '{provider}' but "
            f"got {type(settings).__name__}"
        )
    return settings


def _require_at_least(least: int, **values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < least:
            raise ValueError(
                f"Expected `{name}` to be at least {least} but got {value}"
            )
