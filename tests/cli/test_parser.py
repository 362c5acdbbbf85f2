import inspect
import re
import subprocess
import sys

import pytest

from rkdo_plugin.cli.main import COMMANDS, main


@pytest.mark.parametrize(
    "words", ["", "trian", "train --epochs many", "train --loss icon --loss.coupling 1"]
)
def test_words_that_make_no_command_are_a_usage_error(words, capsys):
    with pytest.raises(SystemExit) as status:
        main(words.split())
    assert status.value.code == 2
    assert "rkdo" in capsys.readouterr().err


def named_commands():
    """Every command by the words that name it."""
    for name, command in COMMANDS.items():
        if callable(command):
            yield name, command
        else:
            yield from ((f"{name} {member}", each) for member, each in command.items())


@pytest.mark.parametrize(("words", "command"), [*named_commands()])
def test_every_command_has_help(words, command, capsys):
    with pytest.raises(SystemExit) as status:
        main([*words.split(), "--help"])
    assert status.value.code == 0
    summary = inspect.getdoc(command).partition("\n")[0]
    assert summary in " ".join(capsys.readouterr().out.split())


def test_the_command_line_is_a_module_too(tmp_path):
    command = [sys.executable, "-m", "rkdo_plugin.cli", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


def test_help_says_what_a_flag_does(capsys):
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    assert "--overwrite Replace an older output file" in " ".join(
        capsys.readouterr().out.split()
    )


HEAVY = "{'torch', 'lightly', 'torchvision', 'pytorch_lightning'}"


@pytest.mark.parametrize("words", ["--help", "train --help", "train -h --epochs 3"])
def test_help_of_names_imports_no_module_that_computes(words, tmp_path):
    program = (
        "import sys; from rkdo_plugin.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        f"except SystemExit: assert not {HEAVY} & set(sys.modules)\n"
        "else: sys.exit('no help')"
    )
    command = [sys.executable, "-c", program, *words.split()]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)


def test_help_shows_no_options_that_jsonargparse_adds_for_itself(capsys):
    for loss in ("icon", "rkdo-over", "moco"):
        with pytest.raises(SystemExit):
            main(["train", "--recipe", "simclr", "--loss", loss, "--help"])
        out = capsys.readouterr().out
        assert "--loss." in out
        assert not re.search(r"--\S+\.help|--\S+\+", out)
