"""The commands that the pages show: every one parses, and runs where a test can."""

import shutil
from pathlib import Path

import pytest
import torch
from checkout import PAGES, ROOT, commands
from checkpoints import saved
from photographs import random_folder
from torch import nn
from torchvision.models import resnet18

from rkdo_plugin import create_encoder
from rkdo_plugin.cli.commands import COMMANDS
from rkdo_plugin.cli.main import main
from rkdo_plugin.cli.parser import parse
from rkdo_plugin.export import Encoder, export_onnx
from rkdo_plugin.recipes.evaluation.run_folder import create_run_folder

# Pages whose commands other tests run, with the files or the plugins that they need.
ELSEWHERE = {
    "docs/plugins.md": "tests/plugins/test_third_party.py",
    "docs/vectors.md": "tests/export/vectors/test_neighbours.py",
}
# Programs of others, and why no test runs them.
OTHERS = {
    "kubectl": "needs a cluster",
    "mkdocs": "tests/test_site.py builds the site",
    "pip": "needs the network; tox installs the package and its extras",
    "pre-commit": "needs the network; `tox -e lint` runs the same",
    "pytest": "runs this test",
    "tox": "runs this test",
}
# Words of `rkdo` commands that are not run here, and why.
NOT_RUN = {
    "paper": "takes an hour; tests/recipes/paper/test_benchmark.py has a shorter one",
    "compare-losses": "takes minutes; tests/cli/test_comparison.py has a shorter one",
    "--devices": "starts processes: tests/recipes/training/test_distributed.py has two",
    "--pretrained": "downloads weights",
    "--ray-address": "needs a cluster",
    "cuda": "needs a GPU",
    "demo": "takes a minute; tests/cli/test_train.py has a shorter one",
    "serve": "runs until it is stopped; tests/export/serving/server/ asks one",
}
# Words that stand for others, and data that not every machine has.
EXAMPLES = {"NAME": "rkdo", "RANK": "0", "fashion-mnist": "digits"}
SHORT = {"--epochs": "1", "--limit": "128", "--batch-size": "64", "--workers": "0"}


def of_rkdo(page: str) -> list[list[str]]:
    """The words after `rkdo` of each of its commands."""
    found = []
    for words in commands(page):
        if "rkdo" in words:  # torchrun may stand before it, and > FILE behind
            words = [EXAMPLES.get(word, word) for word in [*words, ">"]]
            found.append(words[words.index("rkdo") + 1 : words.index(">")])
    return found


@pytest.mark.parametrize(
    "page", [p for p in PAGES if of_rkdo(p) and p not in ELSEWHERE]
)
def test_every_command_and_option_exists(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in of_rkdo(page):
        if "--resume" in words:
            create_run_folder(Path(words[words.index("--out") + 1]), {})
        parse(words, COMMANDS)


@pytest.mark.parametrize("page", PAGES)
def test_programs_of_others_are_known_and_scripts_have_their_options(page: str) -> None:
    for words in commands(page):
        if words[0] == "python":
            script = (ROOT / words[1]).read_text()
            options = [word for word in words if word.startswith("--")]
            assert all(f'"{option}"' in script for option in options), words
        else:
            assert words[0] in {"rkdo", "torchrun", *OTHERS}, words


def test_what_is_said_to_run_elsewhere_does() -> None:
    for page, test in ELSEWHERE.items():
        assert f'"{page}"' in (ROOT / test).read_text(), page


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the files that the pages take for granted."""
    monkeypatch.chdir(tmp_path)
    for name in ("FOLDER", "FOLDER_OF_IMAGES"):
        Path(name).mkdir()
        for kind in ("cat", "dog"):
            random_folder(Path(name, kind), 40, (32, 32, 3))
    network = resnet18()
    torch.save(network.state_dict(), "FILE")
    backbone = nn.Sequential(*list(network.children())[:-1])
    saved(Path("lightly.ckpt"), {"backbone": backbone})
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [p for p in PAGES if of_rkdo(p) and p not in ELSEWHERE]
)
def test_the_commands_of_a_page_run(page: str, folder: Path) -> None:
    """One after another, in one folder; training is cut short."""
    if page in ("docs/embedding.md", "docs/serving.md"):  # they start from a file
        backbone = create_encoder("small-convnet")
        encoder = Encoder(backbone, image_size=32, mean=[0.5] * 3, std=[0.25] * 3)
        export_onnx(encoder, "encoder.onnx")
    for words in of_rkdo(page):
        if NOT_RUN.keys() & set(words):
            continue
        if words[0] == "train" and "--resume" not in words:
            for option, value in SHORT.items():
                if option in words:
                    del words[words.index(option) : words.index(option) + 2]
                words += [option, value]
            shutil.rmtree("RUN", ignore_errors=True)  # a new folder each time
        assert main(words) == 0, words
