import hashlib
import hmac
import shutil

import pytest

from rkdo_plugin.export import check_signature, export_onnx, sign


class Shared:
    """A signer with a shared secret."""

    def __init__(self, secret=b"secret"):
        self.secret = secret

    def sign(self, message):
        return hmac.digest(self.secret, message, hashlib.sha256)

    def check(self, message, signature):
        if not hmac.compare_digest(self.sign(message), signature):
            raise ValueError("it was made with another secret")


@pytest.fixture
def signed(small_file, tmp_path):
    for name in ("small.onnx", "small.onnx.sha256"):
        shutil.copy(small_file.with_name(name), tmp_path)
    path = tmp_path / "small.onnx"
    assert sign(path, Shared()) == tmp_path / "small.onnx.sha256.sig"
    return path


def test_a_signature_holds_for_its_secret_alone(signed):
    check_signature(signed, Shared())
    with pytest.raises(
        ValueError, match=r"valid .* of .*small\.onnx but .*another sec"
    ):
        check_signature(signed, Shared(b"other"))


def test_a_signature_covers_every_byte_of_the_model(signed, make_small):
    content = bytearray(signed.read_bytes())
    content[1000] ^= 1
    signed.write_bytes(content)
    with pytest.raises(ValueError, match=r"small\.onnx"):
        check_signature(signed, Shared())
    export_onnx(make_small(seed=1), signed, overwrite=True)
    with pytest.raises(ValueError, match="Expected a valid signature"):
        check_signature(signed, Shared())


def test_what_is_missing_is_named(signed):
    signed.with_name("small.onnx.sha256.sig").unlink()
    with pytest.raises(FileNotFoundError, match=r"sha256\.sig"):
        check_signature(signed, Shared())
    signed.with_name("small.onnx.sha256").unlink()
    with pytest.raises(FileNotFoundError, match=r"onnx\.sha256"):
        sign(signed, Shared())
