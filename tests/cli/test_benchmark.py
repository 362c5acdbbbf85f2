from rkdo_plugin.cli.main import main


def test_benchmark_compares_every_loss_with_ntxent_at_each_size(capsys):
    words = "benchmark loss --batch-sizes 8 16 --dim 4 --repetitions 1"
    assert main(words.split()) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    assert [row[0] for row in rows] == 2 * ["ntxent", "icon", "icon", "rkdo"]
    assert {int(row[-4]) for row in rows} == {8, 16}
    assert rows[0][3] == rows[4][3] == "1.00"


def test_benchmark_reports_on_exports_of_photographs(capsys):
    words = "benchmark export --encoders [small-convnet] --image-size 32"
    assert main(words.split()) == 0
    out = capsys.readouterr().out
    assert "small-convnet: parity passed on 43 images" in out


def test_benchmark_prints_a_row_for_each_size_of_a_field(capsys):
    words = "benchmark field --num-samples [100,200] --batch-size 16"
    assert main([*words.split(), "--repetitions", "1", "--dim", "8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[3:5]] == ["100", "200"]
