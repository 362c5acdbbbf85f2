"""Read checkpoints in every form, and refuse what is not a checkpoint."""

import pickle

import pytest
import safetensors.torch
import torch
from checkpoints import PREPROCESSING, conv, saved, weight_of

from rkdo_plugin.export import freeze
from rkdo_plugin.export.encoder.checkpoint import read_weights


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_safetensors(prefix, tmp_path):
    weights = {prefix + k: v for k, v in conv(1.0).state_dict().items()}
    safetensors.torch.save_file(weights, tmp_path / "model.safetensors")
    encoder = freeze(tmp_path / "model.safetensors", conv(0.0), **PREPROCESSING)
    assert weight_of(encoder) == 1.0


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.001, 0.5, 0.999])
def test_a_cut_safetensors_file_is_refused(share, tmp_path):
    path = tmp_path / "cut.safetensors"
    safetensors.torch.save_file(conv(1.0).state_dict(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"cut\.safetensors but it cannot be read"):
        freeze(path, conv(0.0), **PREPROCESSING)


def test_a_pickle_called_safetensors_is_refused(tmp_path):
    torch.save(conv(1.0).state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors but it cannot be"):
        freeze(tmp_path / "model.safetensors", conv(0.0), **PREPROCESSING)


def test_a_missing_safetensors_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors but found no"):
        freeze(tmp_path / "none.safetensors", conv(0.0), **PREPROCESSING)


def test_a_bare_state_dict(tmp_path):
    torch.save(conv(1.0).state_dict(), tmp_path / "bare.pt")
    assert weight_of(freeze(tmp_path / "bare.pt", conv(0.0), **PREPROCESSING)) == 1.0


def cut_at(share):
    def write(path):
        whole = saved(path, {"backbone": conv(1.0)}).read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])

    return write


class Payload:
    def __reduce__(self):
        return (print, ("this must never run",))


@pytest.mark.parametrize(
    "write",
    [
        *(cut_at(share) for share in (0.0, 0.01, 0.3, 0.6, 0.9, 0.999)),
        lambda path: path.write_bytes(pickle.dumps({"state_dict": {"a": 1}})),
        lambda path: path.write_bytes(pickle.dumps(Payload())),
        lambda path: torch.save({"state_dict": Payload()}, path),
        lambda path: torch.save(conv(1.0), path),
        lambda path: torch.save([1, 2], path),
        lambda path: torch.save({"state_dict": {}}, path),
        lambda path: path.write_text("epoch: 3\n"),
        lambda path: path.write_bytes(bytes(range(256)) * 40),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, write, capsys):
    path = tmp_path / "broken.ckpt"
    write(path)
    with pytest.raises(ValueError, match=r"Expected a Lightning .*broken\.ckpt but"):
        freeze(path, conv(0.0), **PREPROCESSING)
    assert "never run" not in capsys.readouterr().out


def test_a_missing_checkpoint(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"at .*none\.ckpt but found no such file"
    ):
        freeze(tmp_path / "none.ckpt")


def test_the_folder_of_a_run(tmp_path):
    with pytest.raises(
        IsADirectoryError, match=r"is a folder; .* last\.ckpt in the folder of a run"
    ):
        freeze(tmp_path)


def test_weights_and_record_are_read_once_for_all_uses(tmp_path):
    record = {"encoder": "small-convnet", "image_size": 16}
    path = saved(tmp_path / "own.ckpt", {"backbone": conv(1.0)}, rkdo=record)
    checkpoint = read_weights(path)
    assert (checkpoint.path, checkpoint.record) == (path, record)
    assert checkpoint.weights.keys() == {"backbone.weight", "backbone.bias"}
    path.unlink()
    encoder = freeze(checkpoint, conv(0.0), mean=[0.5] * 3, std=[0.25] * 3)
    assert weight_of(encoder) == 1.0 and encoder.image_size == 16


def test_a_checkpoint_of_others_has_an_empty_record(tmp_path):
    assert read_weights(saved(tmp_path / "any.ckpt", {"a": conv(1.0)})).record == {}


def test_a_changed_byte_of_a_weight_is_refused(tmp_path):
    """PyTorch reads it as another weight: it looks at no checksum."""
    path = saved(tmp_path / "x.ckpt", {"backbone": conv(1.0)})
    content = bytearray(path.read_bytes())
    content[content.index(torch.ones(4).numpy().tobytes()) + 2] ^= 1
    path.write_bytes(content)
    changed = torch.load(path)["state_dict"]["backbone.weight"]
    assert torch.isfinite(changed).all() and (changed != 1).any()
    with pytest.raises(ValueError, match=r"x\.ckpt but it was changed .* Bad CRC-32"):
        freeze(path, conv(0.0), **PREPROCESSING)


def test_a_checkpoint_without_checksums_is_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        path = saved(tmp_path / "x.ckpt", {"backbone": conv(1.0)})
    finally:
        torch.serialization.set_crc32_options(True)
    assert weight_of(freeze(path, conv(0.0), **PREPROCESSING)) == 1.0


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ([1], "list as 'rkdo'"),
        ({"mean": "0.5"}, "'0.5' as 'mean'"),
        ({"std": [None]}, r"\[None\] as 'std'"),
        ({"image_size": [8, 8, 8]}, r"\[8, 8, 8\] as 'image_size'"),
        ({"image_size": 2**31}, "2147483648 as 'image_size'"),
        ({"encoder": 3}, "3 as 'encoder'"),
        ({"normalize": torch.ones(2)}, r"tensor\(.* as 'normalize'"),
    ],
)
def test_a_record_of_something_else_is_refused(record, told, tmp_path):
    path = saved(tmp_path / "x.ckpt", {"backbone": conv(1.0)}, rkdo=record)
    with pytest.raises(ValueError, match=rf"x\.ckpt but it records {told}"):
        freeze(path, conv(0.0))


@pytest.mark.parametrize("zipped", [False, True])
def test_damage_anywhere_is_one_error_or_other_numbers(zipped, tmp_path):
    """PyTorch's readers raise ten kinds of errors."""
    path = tmp_path / "x.pt"
    torch.save(conv(1.0).state_dict(), path, _use_new_zipfile_serialization=zipped)
    content, refused = path.read_bytes(), 0
    places = range(0, len(content), 23)
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 0x9D
        path.write_bytes(damaged)
        try:
            freeze(path, conv(0.0), **PREPROCESSING)
        except ValueError as error:
            refused += "Expected" in str(error)
    assert refused > len(places) // 4
