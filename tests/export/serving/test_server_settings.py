"""Limits that make sense, and keys that are there."""

import pytest

from rkdo_plugin.export.serving.server_settings import (
    ServerSettings,
    read_keys,
    read_tls,
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", -1),
        ("grpc_port", -1),
        ("max_batch", 0),
        ("max_delay_ms", -0.1),
        ("max_delay_ms", float("nan")),
        ("max_queue", 0),
        ("max_bytes", 0),
        ("max_pixels", 0),
    ],
)
def test_a_limit_that_lets_nothing_through(name, value):
    with pytest.raises(ValueError, match=f"`{name}` to be at least . but got {value}"):
        ServerSettings(**{name: value})


def test_keys_are_lines(tmp_path):
    (tmp_path / "keys").write_bytes(b"one\r\n\n  two \nthr\xc3\xa9\xc3\xa9")
    found = read_keys(str(tmp_path / "keys"))
    assert found == (b"one", b"two", b"thr\xc3\xa9\xc3\xa9")
    assert read_keys(None) == ()


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_file_without_a_key_is_no_open_door(tmp_path, content):
    (tmp_path / "keys").write_text(content)
    with pytest.raises(ValueError, match="a key in each line"):
        read_keys(str(tmp_path / "keys"))


def test_a_certificate_needs_its_key(tmp_path):
    for name in ("tls_certificate", "tls_key"):
        with pytest.raises(ValueError, match="got one of them"):
            ServerSettings(**{name: "x.pem"})
    missing = ServerSettings(tls_certificate="x.pem", tls_key="y.pem")
    with pytest.raises(OSError, match=r"x\.pem .*y\.pem but got: .*No such file"):
        read_tls(missing)
    (tmp_path / "other").write_text("no certificate")
    other = ServerSettings(tls_certificate=str(tmp_path / "other"), tls_key="y.pem")
    with pytest.raises(OSError, match="Expected a certificate in"):
        read_tls(other)
    assert read_tls(ServerSettings()) is None
