"""Feed damaged and hostile content to all that reads bytes from outside.

    python benchmarks/fuzz.py [TARGET ...] [--cases N] [--seed S] [--kept FOLDER]

Each target, in fuzz_runs.py and the like, has valid content and a reader. A case is
that content with bytes or values changed, the same for the same seed. It has to be
refused by one of the errors that the reader documents, or accepted as what it then is.
All else is a fault: another error, a refusal that does not say what was expected, a
changed byte below a checksum, more memory or time than the bounds, a program that is
run, a file that is written elsewhere, a crash. Faulty content is kept as
FOLDER/TARGET-NUMBER. Needs Linux.
"""

import argparse
import copy
import mmap
import os
import random
import re
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from fuzz_content import PIXELS, TARGETS, Target
from PIL import Image

for part in ("runs", "exports", "vectors", "images", "requests"):
    import_module(f"fuzz_{part}")  # fills TARGETS

SECONDS = 10  # of a case
MEMORY = 2**29  # bytes of address space that a case may add
EDGE = 256  # bytes at both ends of a file, where most of its structure is
NUMBERS = (0, 1, -1, 127, 255, 2**15, 2**16, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1)
DEEP = 100_000  # brackets within brackets
WORDS = (b"nan", b"-1", b"1e999", b"0x10", b"9" * 400, b"\xff\xfe", b"\0", b"{[")
WORDS = (*WORDS, b"[" * DEEP, b'{"a":' * DEEP)
VALUES = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 10**30, 0.5, -1e308, 1e-320),
    *(float("nan"), float("inf"), "", "x", "nan", "-1", "9" * 400, "a\0b", "\ud800"),
    *([], {}, [[]], [None], {"": None}, [1, "x"], "../../etc/passwd", "x" * 10_000),
)
RUNS = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen")
REACHES = ("socket.connect", "pickle.find_class")


class TooLongError(BaseException):
    """A case took longer than it may; no reader can catch it as one of its errors."""


class RanError(BaseException):
    """A case ran a program, looked a class up, or reached out."""


def content_of(target: Target, dice: random.Random) -> bytes:
    """The content of a case."""
    seeds = target.seeds
    if target.trees and (not seeds or dice.random() < 0.6):
        tree = copy.deepcopy(dice.choice(target.trees))
        for _ in range(dice.choice((0, 1, 1, 1, 2, 5))):
            tree = bent(tree, dice)
        try:
            content = target.written(tree)
        except Exception:  # what the format cannot hold
            content = dice.choice(seeds or [target.written(target.trees[0])])
        if dice.random() < 0.8:
            return content
        seeds = [content]
    return mutated(seeds, dice)


def mutated(seeds: Sequence[bytes], dice: random.Random) -> bytes:
    """Content with some bytes changed, lost, added, repeated or of another content."""
    content = bytearray(dice.choice(seeds))
    for _ in range(dice.choice((1, 1, 1, 2, 4, 16))):
        size = len(content)
        place = dice.randrange(size + 1)
        if dice.random() < 0.5:
            place = dice.randrange(min(EDGE, size) + 1)
            place = dice.choice((place, size - place))
        length = min(dice.choice((1, 2, 4, 8, 64, 1024)), size)
        part = slice(place, place + length)
        match dice.randrange(9):
            case 0 if place < size:
                content[place] ^= 1 << dice.randrange(8)
            case 1 if place < size:
                content[place] = dice.randrange(256)
            case 2:
                del content[place:]
            case 3:
                del content[part]
            case 4:
                content[place:place] = dice.randbytes(length)
            case 5:
                other = dice.choice(seeds)
                start = dice.randrange(len(other) + 1)
                content[part] = other[start : start + length]
            case 6:
                width, order = dice.choice((1, 2, 4, 8)), dice.choice(("little", "big"))
                number = dice.choice(NUMBERS) % 256**width
                content[place : place + width] = number.to_bytes(width, order)
            case 7:
                found = list(re.finditer(rb"\d+", content))
                if found:
                    word = str(dice.choice(NUMBERS)).encode()
                    start, end = dice.choice(found).span()
                    content[start:end] = dice.choice((word, *WORDS))
            case _:
                content[place:place] = content[part] * dice.choice((1, 1, 3, 100))
    return bytes(content)


def bent(tree: Any, dice: random.Random) -> Any:
    """Plain values of which one is another, gone, doubled, renamed or far too deep."""
    places = list(_places(tree))
    if not places:
        return dice.choice(VALUES)
    holder, key = dice.choice(places)
    match dice.randrange(8):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        case 1:
            holder[dice.choice(("", "x", f"{key}2"))] = holder.pop(key)
        case 2:
            other, name = dice.choice(places)
            holder[key] = copy.deepcopy(other[name])
        case 3 if dice.random() < 0.2:
            for _ in range(200):
                holder[key] = [holder[key]]
        case 4 if isinstance(holder[key], int | float):
            holder[key] = dice.choice((-1, 2, 0.5)) * holder[key]
        case 5:
            holder[key] = str(holder[key])
        case _:
            holder[key] = copy.deepcopy(dice.choice(VALUES))
    return tree


def _places(tree: Any, depth: int = 20) -> Iterator[tuple[Any, Any]]:
    """Every value that a mapping or a list holds: the holder, and the key."""
    if isinstance(tree, dict | list) and depth:
        for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
            yield tree, key
            yield from _places(tree[key], depth - 1)


@contextmanager
def bounded(folder: Path) -> Iterator[None]:
    """Bound memory and time; let nothing run, and nothing be written elsewhere."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    WATCHED.append(str(folder))
    signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (most, limits[1]))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        WATCHED.clear()


WATCHED: list[str] = []  # the folder of the case that is read


def _too_long(*_: object) -> None:
    raise TooLongError(f"more than {SECONDS} s")


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Let no case run anything, nor open a file for writing outside its folder."""
    if not WATCHED:
        return
    if event in RUNS or event in REACHES:
        raise RanError(f"{event} {arguments}")
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        path, mode, flags = os.fsdecode(arguments[0]), arguments[1], arguments[2]
        writes = set(mode or "") & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR)
        if writes and not path.startswith((WATCHED[0], "/dev/null")):
            raise RanError(f"opened {path} for writing")


def fault(target: Target, content: bytes, folder: Path) -> str | None:
    """What is wrong with how a target reads content; "refused" or None otherwise."""
    try:
        with bounded(folder):
            target.read(content)
    except target.refusals as error:
        if _lacked_memory(error) and not target.lavish:
            return f"memory: {type(error).__name__}: {error}"
        if isinstance(error, ValueError) and "Expected" not in str(error):
            return f"unclear: {_told(error)}"
        return "refused"
    except (Exception, TooLongError, RanError) as error:
        return _told(error)
    if target.guarded and content not in target.seeds:
        return "accepted below a checksum"
    return None


def _lacked_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, says that there is no memory."""
    if error is None:
        return False
    if isinstance(error, MemoryError) or re.search("alloc|MemoryError", str(error)):
        return True
    return _lacked_memory(error.__cause__ or error.__context__)


def _told(error: BaseException) -> str:
    """The error in one line, and the line of the package that let it through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [each for each in frames if re.search("(export|recipes)/", each.filename)]
    last = (ours or frames)[-1]
    place = f"{Path(last.filename).name}:{last.lineno}"
    return f"{place}: {type(error).__name__}: {str(error)[:100]!r}"


def attack(name: str, cases: range, seed: int, kept: Path, counts: Any) -> list[str]:
    """Read the cases of a target in this process.

    Args:
        name: Of the target.
        cases: Their numbers.
        seed: What they are drawn by, with their number.
        kept: Folder for faulty content.
        counts: Where numbers of cases refused, accepted and faulty are added up, and
            the number of the next case.

    Returns:
        What was wrong, once for each place and kind.
    """
    found: dict[str, str] = {}
    warnings.simplefilter("ignore")
    with (
        tempfile.TemporaryDirectory(dir=_in_memory()) as made,
        patch.object(Image, "MAX_IMAGE_PIXELS", PIXELS),
    ):
        target = TARGETS[name](Path(made))
        for number in cases:
            content = content_of(target, random.Random(f"{seed} {name} {number}"))
            case = kept / f"{name}-{number}"
            case.write_bytes(content)  # here already, if this process ends with it
            counts[3] = number + 1
            wrong = fault(target, content, Path(made))
            counts[0 if wrong == "refused" else 1 if wrong is None else 2] += 1
            if wrong is None or wrong == "refused":
                case.unlink()
                continue
            kind = ": ".join(wrong.split(": ")[:2])
            if found.setdefault(kind, wrong) is wrong:
                print(f"{case}: {wrong}", file=sys.stderr)
    return list(found.values())


def _in_memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # files are small


def attack_apart(name: str, cases: int, seed: int, kept: Path) -> list[int]:
    """Do `attack` in a process of its own, and in another one after each crash."""
    counts: Any = np.frombuffer(mmap.mmap(-1, 32), np.int64)
    while counts[3] < cases:
        process = os.fork()
        if process == 0:
            status = 1
            try:
                attack(name, range(int(counts[3]), cases), seed, kept, counts)
                status = 0
            except BaseException:
                traceback.print_exc()
            os._exit(status)
        _, status = os.waitpid(process, 0)
        if os.WIFSIGNALED(status):
            case = f"{name}-{counts[3] - 1}"
            print(f"{kept / case}: ended by signal {os.WTERMSIG(status)}")
            counts[2] += 1
        elif status:
            raise SystemExit(f"{name}: the script failed")
    return [int(count) for count in counts[:3]]


def main(words: Sequence[str] | None = None) -> None:
    """Attack each target, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kept", type=Path, default=Path("fuzz-faults"))
    asked = parser.parse_args(words)
    asked.kept.mkdir(exist_ok=True)
    sys.addaudithook(_watch)
    print("| target | cases | refused | accepted | faults |\n|---|---|---|---|---|")
    faults = 0
    for name in asked.targets or TARGETS:
        refused, accepted, wrong = attack_apart(
            name, asked.cases, asked.seed, asked.kept
        )
        print(f"| {name} | {asked.cases} | {refused} | {accepted} | {wrong} |")
        sys.stdout.flush()
        faults += wrong
    if faults:
        raise SystemExit(f"{faults} faults; their content is in {asked.kept}")


if __name__ == "__main__":
    main()
