"""Find out if this CPU cuts the sums of 8-bit products."""

import re
from pathlib import Path

CPU = Path("/proc/cpuinfo")


def sums_saturate() -> bool:
    """Find out if this CPU adds products of 8-bit integers in 16 bits.

    x86 CPUs without VNNI do. Sums beyond 16 bits are cut, and an encoder then computes
    something else, without an error.

    Source: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
    """
    if not CPU.exists():
        return False
    flags = re.findall(r"^flags\s*:(.*)$", CPU.read_text(), flags=re.MULTILINE)
    return any("avx2" in each and "vnni" not in each for each in flags)
