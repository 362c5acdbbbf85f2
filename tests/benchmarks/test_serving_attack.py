"""The attack on a server, in small."""

import sys

import pytest
import serving_attack

from rkdo_plugin import create_encoder
from rkdo_plugin.export import Encoder, export_onnx


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_good_requests_are_answered_among_bad_ones(tmp_path, capsys):
    backbone = create_encoder("small-convnet")
    encoder = Encoder(backbone, image_size=16, mean=[0.5] * 3, std=[0.25] * 3)
    export_onnx(encoder, tmp_path / "small.onnx")
    serving_attack.attack(tmp_path / "small.onnx", 600)
    told = capsys.readouterr().out
    assert "WRONG" not in told and "warnings or errors in the log: 0" in told
    counts = dict(line.rsplit(maxsplit=1) for line in told.splitlines())
    assert (counts["  good"], counts["  gRPC, good"]) == ("240", "60")
