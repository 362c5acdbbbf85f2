"""What a GPU session needs and what of it is here, in plain words."""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnxruntime
import torch

from rkdo_plugin.export.runtime import libraries
from rkdo_plugin.export.runtime.providers import NAMES, require_provider
from rkdo_plugin.export.runtime.trial import trial

# Linux's and Windows' names; {cuda} is the major version onnxruntime was built for.
CUDA_LIBRARIES = (
    ("libcudart.so.{cuda}", "cudart64_{cuda}.dll"),
    ("libcublasLt.so.{cuda}", "cublasLt64_{cuda}.dll"),
    ("libcublas.so.{cuda}", "cublas64_{cuda}.dll"),
    ("libcurand.so.10", "curand64_10.dll"),
    ("libcudnn.so.9", "cudnn64_9.dll"),
)
TENSORRT_LIBRARIES = (
    ("libnvinfer.so.10", "nvinfer_10.dll"),
    ("libnvonnxparser.so.10", "nvonnxparser_10.dll"),
)


@dataclass(frozen=True)
class Diagnosis:
    """What was found on this machine.

    Attributes:
        provider: What was asked for.
        runtimes: Version of each installed distribution of onnxruntime.
        torch: PyTorch's version, and whether it finds a GPU: without one it holds no
            tensor for `embed_tensor` and CUDA graphs.
        cuda: CUDA's version that onnxruntime was built for; empty without CUDA.
        driver: The newest CUDA that the NVIDIA driver supports; None without a driver.
        tensorrt: TensorRT's version, where its library loads.
        missing: Libraries of CUDA that do not load.
        missing_tensorrt: Libraries of TensorRT that do not load.
        trials: For each provider why it does not load, or None where it does.
    """

    provider: str
    runtimes: Mapping[str, str]
    torch: str
    cuda: str
    driver: str | None
    tensorrt: str | None
    missing: tuple[str, ...]
    missing_tensorrt: tuple[str, ...]
    trials: Mapping[str, str | None]

    @property
    def healthy(self) -> bool:
        """Whether what was asked for loads; for "auto" that is the CPU."""
        return self.trials["cpu" if self.provider == "auto" else self.provider] is None

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do next."""
        steps = []
        if len(self.runtimes) > 1:
            steps.append(
                f"{' and '.join(self.runtimes)} overwrote files of each other: pip "
                f"uninstall {' '.join(self.runtimes)}, then pip install the one you "
                "need, onnxruntime-gpu for a GPU"
            )
        if self.provider != "auto" and not self.healthy:
            steps.append(self._repair(self.provider))
        elif self.provider == "auto" and self.trials["cuda"] is not None:
            steps.append(f"auto runs on the CPU; for a GPU: {self._repair('cuda')}")
        return tuple(steps)

    def _repair(self, provider: str) -> str:
        """The first thing to repair, as every other needs it."""
        major = self.cuda.partition(".")[0]
        if provider == "cpu":
            return "onnxruntime itself does not work: reinstall it"
        if not self.cuda:
            return (
                "this onnxruntime is built without CUDA: pip uninstall onnxruntime, "
                "then pip install 'rkdo-plugin[cuda]'"
            )
        if self.driver is None:
            return (
                "there is no NVIDIA driver: install it as NVIDIA or your system says; "
                "in a container, start it with the GPUs, as docker run --gpus all"
            )
        if int(self.driver.partition(".")[0]) < int(major):
            return (
                f"the driver supports CUDA {self.driver} and onnxruntime needs CUDA "
                f"{major}: update the driver"
            )
        if self.missing:
            return "libraries of CUDA are missing: pip install 'rkdo-plugin[cuda]'"
        if provider == "tensorrt" and self.missing_tensorrt:
            return (
                f"missing of TensorRT 10: {', '.join(self.missing_tensorrt)}: pip "
                f"install 'tensorrt-cu{major}<11'"
            )
        return f"every library loads, and yet: {self.trials[provider]}"

    def __str__(self) -> str:
        runtimes = [f"{name} {version}" for name, version in self.runtimes.items()]
        driver = f"supports CUDA {self.driver}" if self.driver else "none"
        missing = f"missing: {', '.join(self.missing)}"
        trials = [
            f"  {provider:16} " + ("loads" if reason is None else f"no: {reason}")
            for provider, reason in self.trials.items()
        ]
        lines = [
            f"  onnxruntime      {', '.join(runtimes) or 'not a package'}"
            + (f", built for CUDA {self.cuda}" if self.cuda else ", without CUDA"),
            f"  PyTorch          {self.torch}",
            f"  NVIDIA driver    {driver}",
            f"  CUDA libraries   {missing if self.missing else 'found'}",
            f"  TensorRT         {self.tensorrt or 'none'}",
        ]
        steps = [f"{number}. {step}" for number, step in enumerate(self.advice, 1)]
        return "\n".join(["found:", *lines, "providers:", *trials, *steps])


def examine(provider: str = "auto") -> Diagnosis:
    """Find out what would load here, and what is missing for what would not.

    Each provider is tried on a tiny model in a process of its own, so that neither a
    crash nor the noise of a library reaches the caller.

    Args:
        provider: "auto", "cpu", "cuda" or "tensorrt": what the advice is for.

    Raises:
        ValueError: The provider's name is unknown.
    """
    require_provider(provider)
    trials = {name: trial(name) for name in NAMES}
    libraries.preload("tensorrt")
    cuda = str(getattr(onnxruntime, "cuda_version", ""))  # absent without CUDA
    return Diagnosis(
        provider=provider,
        runtimes=libraries.runtimes_installed(),
        torch=f"{torch.__version__}, finds "
        + ("a GPU" if torch.cuda.is_available() else "no GPU"),
        cuda=cuda,
        driver=_driver_version(),
        tensorrt=libraries.tensorrt_version(),
        missing=_missing(CUDA_LIBRARIES, cuda),
        missing_tensorrt=_missing(TENSORRT_LIBRARIES, cuda),
        trials=trials,
    )


def _driver_version() -> str | None:
    """The newest CUDA that the driver supports, as 13.0."""
    driver = libraries.nvidia_driver()
    if driver is None:
        return None
    number = ctypes.c_int(0)
    driver.cuDriverGetVersion(ctypes.byref(number))
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def _missing(names: Sequence[tuple[str, str]], cuda: str) -> tuple[str, ...]:
    """Linux's names of the libraries that do not load."""
    if not cuda:  # a build for the CPU needs none
        return ()
    major = cuda.partition(".")[0]
    pairs = [[name.format(cuda=major) for name in pair] for pair in names]
    return tuple(
        linux for linux, windows in pairs if libraries.library(linux, windows) is None
    )
