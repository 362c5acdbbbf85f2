"""Find out what a GPU session needs and what of it is missing on this machine."""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnxruntime
import torch

from rkdo_plugin.export.runtime import libraries
from rkdo_plugin.export.runtime.cuda_fault import cuda_fault
from rkdo_plugin.export.runtime.providers import NAMES
from rkdo_plugin.export.runtime.settings import require_provider
from rkdo_plugin.export.runtime.trial import trial

# Names on Linux and on Windows. {cuda} is the major version of CUDA that onnxruntime
# was built for.
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
    """The state of this machine for onnxruntime, CUDA and TensorRT.

    Attributes:
        provider: The provider that was asked for.
        runtimes: Version of each installed package of onnxruntime.
        torch: PyTorch's version, and whether it finds a GPU. `embed_tensor` and CUDA
            graphs need torch's tensors on the GPU.
        cuda: The version of CUDA that onnxruntime was built for. Empty without CUDA.
        driver: The newest CUDA that the NVIDIA driver supports. None without a driver.
        tensorrt: TensorRT's version. None if its library does not load.
        missing: Libraries of CUDA that do not load.
        missing_tensorrt: Libraries of TensorRT that do not load.
        trials: For each provider the reason why it does not load. None if it loads.
        gpu_fault: Why PyTorch computes nothing on a GPU, so that `pytest -m gpu` would
            skip its tests. None if it computes.
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
    gpu_fault: str | None

    @property
    def healthy(self) -> bool:
        """Whether the provider that was asked for loads. "auto" needs the CPU only."""
        return self.trials["cpu" if self.provider == "auto" else self.provider] is None

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do next, one step after the other."""
        steps = []
        if len(self.runtimes) > 1:
            steps.append(
                f"{' and '.join(self.runtimes)} overwrote files of each other: pip "
                f"uninstall {' '.join(self.runtimes)}, then pip install the one that "
                "you need, onnxruntime-gpu for a GPU"
            )
        if self.provider != "auto" and not self.healthy:
            steps.append(self._repair(self.provider))
        elif self.provider == "auto" and self.trials["cuda"] is not None:
            steps.append(f"auto runs on the CPU; for a GPU: {self._repair('cuda')}")
        return tuple(steps)

    def _repair(self, provider: str) -> str:
        """Name the first thing to repair; everything after it depends on it."""
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
                "there is no NVIDIA driver: install it as NVIDIA or your system "
                "describes; start a container with the GPUs, such as docker run --gpus "
                "all"
            )
        if int(self.driver.partition(".")[0]) < int(major):
            return (
                f"the driver supports CUDA {self.driver} but onnxruntime needs CUDA "
                f"{major}: update the driver"
            )
        if self.missing:
            return "libraries of CUDA are missing: pip install 'rkdo-plugin[cuda]'"
        if provider == "tensorrt" and self.missing_tensorrt:
            return (
                "libraries of TensorRT 10 are missing, "
                f"{', '.join(self.missing_tensorrt)}: pip install "
                f"'tensorrt-cu{major}<11'"
            )
        return (
            f"every library loads but {provider} does not run: {self.trials[provider]}"
        )

    @property
    def _gpu_tests(self) -> str:
        """How to run the GPU tests, and whether they would run."""
        how = "`pytest -m gpu` in a checkout"
        if self.gpu_fault is None:
            return f"{how} runs them"
        return f"{how} skips them: {self.gpu_fault}"

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
            f"  GPU tests        {self._gpu_tests}",
        ]
        steps = [f"{number}. {step}" for number, step in enumerate(self.advice, 1)]
        return "\n".join(["found:", *lines, "providers:", *trials, *steps])


def examine(provider: str = "auto") -> Diagnosis:
    """Find out which providers load on this machine, and what the others lack.

    Each provider is tried on a tiny model in a process of its own. Neither a crash nor
    the messages of a library reach the caller.

    Args:
        provider: "auto", "cpu", "cuda" or "tensorrt": the provider to give advice for.

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
        gpu_fault=cuda_fault(),
    )


def _driver_version() -> str | None:
    """Return the newest CUDA that the driver supports, such as 13.0."""
    driver = libraries.nvidia_driver()
    if driver is None:
        return None
    number = ctypes.c_int(0)
    driver.cuDriverGetVersion(ctypes.byref(number))
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def _missing(names: Sequence[tuple[str, str]], cuda: str) -> tuple[str, ...]:
    """Return the Linux names of the libraries that do not load."""
    if not cuda:  # an onnxruntime for the CPU needs none of them
        return ()
    major = cuda.partition(".")[0]
    pairs = [[name.format(cuda=major) for name in pair] for pair in names]
    return tuple(
        linux for linux, windows in pairs if libraries.library(linux, windows) is None
    )
