"""What a careless user types; tests/export/serving/server has the rest."""

import subprocess
import sys

import pytest

from rkdo_plugin.cli.main import main
from rkdo_plugin.cli.parser import parse
from rkdo_plugin.cli.serve import serve
from rkdo_plugin.export.serving.server_settings import ServerSettings


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a.onnx --max-batch 0", "Expected --max-batch to be at least 1 but got 0"),
        ("a.onnx --max-delay-ms -1", "Expected --max-delay-ms to be at least 0 but"),
        ("a.onnx --port 65536", "Expected --port to be at most 65535 but got 65536"),
        ("a.onnx b/a.onnx", "different names but got a twice: a.onnx and b/a.onnx"),
        ("a.onnx --api-key-file nowhere.txt", "nowhere.txt"),
        ("a.onnx --port 0 --grpc-port 0", "a.onnx"),
        ("a.onnx --host 203.0.113.1 --port 0", "listen on 203.0.113.1, port 0, but"),
    ],
)
def test_mistakes_are_one_line_and_a_status(words, message, capsys, monkeypatch):
    name = "rkdo_plugin.export.serving.server.run.configure"
    monkeypatch.setattr(name, lambda: None)  # other tests log, too
    assert main(["serve", *words.split()]) == 1
    out, err = capsys.readouterr()
    assert message in err and err.count("\n") == 1 and not out


def test_one_model_or_several():
    for words in (["a.onnx"], ["a.onnx", "b.onnx"]):
        command, options = parse(["serve", *words, "--port", "9"], {"serve": serve})
        assert command is serve and options["models"] == words
        assert options["settings"] == ServerSettings(port=9)


def test_no_model(capsys):
    with pytest.raises(SystemExit) as left:
        main(["serve"])
    assert left.value.code == 2 and "model" in capsys.readouterr().err


def test_kserve_does_not_read_our_command_line():
    """It parses sys.argv when it is imported, and has an option of this name."""
    program = (
        "import sys; from rkdo_plugin.export.serving.server import run\n"
        "from kserve.model_server import args; assert args.http_port == 8080\n"
        "assert sys.argv[1:] == ['--http_port', 'x']"
    )
    command = [sys.executable, "-c", program, "--http_port", "x"]
    subprocess.run(command, check=True)


def test_without_the_extra_the_error_names_it(tmp_path):
    program = (
        "import sys; from rkdo_plugin.cli.main import main\n"
        "sys.modules['kserve'] = None; sys.exit(main(['serve', 'a.onnx']))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "pip install 'rkdo-plugin[serve]'" in done.stderr
