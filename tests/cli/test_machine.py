from rkdo_plugin.cli.main import main


def test_plugins_lists_what_each_contributes(capsys):
    assert main(["plugins"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("builtin (rkdo-plugin ")
    assert "loss: barlowtwins, clip, cmc, consistency, cross-entropy, dino, " in out
