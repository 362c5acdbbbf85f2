"""Words as the parser reads them, and errors with options as they are typed."""

import pytest

from rkdo_plugin.cli.commands import COMMANDS
from rkdo_plugin.cli.main import main
from rkdo_plugin.cli.words import as_typed, named


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "train --loss.temprature 0.2",
            "but got --loss.temprature (did you mean --loss.temperature?); known: --lo",
        ),
        (
            "train --loss_temprature 0.2",
            "but got --loss-temprature (did you mean --loss.temperature?); see rkdo tr",
        ),
        ("train --recipe.q 3", "got --recipe.q; known: --recipe.optimizer, --recipe.l"),
        (
            "export a b --overwrit",
            "--overwrit (did you mean --overwrite?); see rkdo ex",
        ),
        ("benchmark loss --dimm 3", "(did you mean --dim?); see rkdo benchmark loss"),
        (
            "trian",
            "Expected a command but got trian (did you mean train?); known: demo",
        ),
        ("train --epochs many", "Expected --epochs to be an integer but got many; see"),
        ("train --loss", "rkdo: argument --loss: expected one argument; see rkdo tr"),
        ("train --limit all", "Expected --limit to be an integer but got all; see"),
        ("export a b --std x", "Expected --std to be numbers, as 0.5 0.25 but got x;"),
        (
            "verify a --provider tpu",
            "--provider to be one of 'cpu', 'cuda', 'tensorrt'",
        ),
        ("compare-losses", "Expected --budget but it is not given; see rkdo"),
        ("train --resume runs/a", "takes no path: use --out runs/a --resume; see rkdo"),
        ("train --resume=runs/a", "takes no path: use --out runs/a --resume; see rkdo"),
    ],
)
def test_a_mistyped_word_is_one_line_with_what_was_meant(words, message, capsys):
    with pytest.raises(SystemExit) as status:
        main(words.split())
    assert status.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("rkdo: ") and error.count("\n") == 1


def test_only_a_commands_own_options_are_spelled_as_options():
    message = "Expected `batch_size` beside `output` and `coupling`"
    train, embed = named(["train"], COMMANDS), named(["embed"], COMMANDS)
    typed = "Expected --batch-size beside `output` and `coupling`"
    assert as_typed(message, train) == as_typed(message, embed) == typed
    assert as_typed(message, named(["trian"], COMMANDS)) == message


def test_a_member_of_a_group_is_named_by_two_words():
    assert named(["benchmark", "loss"], COMMANDS).__name__ == "loss"
    assert named(["inspect_field", "run"], COMMANDS).__name__ == "inspect_field"
    assert named(["benchmark"], COMMANDS) is None
