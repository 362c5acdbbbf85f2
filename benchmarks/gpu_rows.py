"""What benchmarks/gpu.py measures: how large, by which clock, and in which rows."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

OUT_OF_MEMORY = "out of memory"
NO_TIME = "no time left"
WARM_UP = 2  # calls that are not counted
FEWEST = 3  # counted calls, however long they take


@dataclass(frozen=True)
class Sizes:
    """How large everything is.

    Attributes:
        loss_batches: Batch sizes B of the losses, of two views (B, D).
        dim: D, of losses and fields.
        field_samples: Numbers of samples N of the fields.
        field_batch: Samples of an update.
        training_encoder: The encoder that is trained.
        training_image: Height and width in pixels of its images.
        training_batch: Images in a step, each in two views.
        training_steps: Counted steps.
        encoders: The encoders whose forward pass is timed.
        encoder_image: Height and width in pixels of their images.
        encoder_batches: Their batch sizes.
        repetitions: Calls that a median is over, at most.
    """

    loss_batches: tuple[int, ...] = (256, 1024, 4096, 16384)
    dim: int = 128
    field_samples: tuple[int, ...] = (10_000, 60_000, 240_000, 1_280_000)
    field_batch: int = 256
    training_encoder: str = "resnet50"
    training_image: int = 224
    training_batch: int = 128
    training_steps: int = 12
    encoders: tuple[str, ...] = ("resnet50", "timm:vit_small_patch16_224")
    encoder_image: int = 224
    encoder_batches: tuple[int, ...] = (1, 8, 32, 256)
    repetitions: int = 30


FULL = Sizes()
TINY = Sizes(
    loss_batches=(32, 64),
    dim=16,
    field_samples=(400, 800),
    field_batch=32,
    training_encoder="small-convnet",
    training_image=32,
    training_batch=16,
    training_steps=2,
    encoders=("small-convnet",),
    encoder_image=32,
    encoder_batches=(2,),
    repetitions=3,
)


@dataclass
class Row:
    """One line of the table. What was not measured is None.

    Attributes:
        section: "losses", "field", "training" or "export".
        what: What was run.
        size: On how much.
        milliseconds: Time of a call or a step, a median.
        mebibytes: Memory of the card at the peak, beyond what was there before.
        rate: Images a second.
        waits: Share of the time in which the card waits for images.
        note: Why a figure is missing, or how exact the result is.
    """

    section: str
    what: str
    size: str
    milliseconds: float | None = None
    mebibytes: float | None = None
    rate: float | None = None
    waits: float | None = None
    note: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What a prediction is found by."""
        return self.section, self.what, self.size


@dataclass
class Budget:
    """The seconds that a section may take; it ends by itself when they are over."""

    seconds: float
    started: float = field(default_factory=time.perf_counter)

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.seconds - (time.perf_counter() - self.started)


@dataclass(frozen=True)
class Clock:
    """Times calls on a device.

    Attributes:
        device: The device. On a GPU its own events are read, and its allocator.
        repetitions: Counted calls, at most.
        seconds: Time for one row, after which no further call starts.
    """

    device: torch.device
    repetitions: int
    seconds: float = 2.0

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    def measure(self, row: Row, call: Callable[[], object]) -> Row:
        """Time a call, the median over repetitions, and measure its memory.

        Args:
            row: Filled and returned. Where the memory does not suffice, its note says
                so.
            call: What is timed. It may return before the device is done.
        """
        try:
            for _ in range(WARM_UP):
                call()
            before = self.start_memory()
            row.milliseconds = statistics.median(self._times(call))
            row.mebibytes = self.peak_memory(before)
        except torch.OutOfMemoryError:
            row.note = OUT_OF_MEMORY
            torch.cuda.empty_cache()
        return row

    def start_memory(self) -> int:
        """Forget the peak so far, and return the bytes in use."""
        if not self.on_gpu:
            return 0
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()

    def peak_memory(self, before: int) -> float | None:
        """MiB beyond the bytes that were in use."""
        if not self.on_gpu:
            return None
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20

    def _times(self, call: Callable[[], object]) -> Sequence[float]:
        ends = time.perf_counter() + self.seconds
        times: list[float] = []
        while len(times) < self.repetitions:
            if len(times) >= FEWEST and time.perf_counter() > ends:
                break
            times.append(self._time(call))
        return times

    def _time(self, call: Callable[[], object]) -> float:
        if not self.on_gpu:
            started = time.perf_counter()
            call()
            return 1000 * (time.perf_counter() - started)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end)
