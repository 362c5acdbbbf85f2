"""What a server is told: where it listens, its limits and its keys."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class ServerSettings:
    """Where a server listens, and its limits.

    Args:
        host: The address to listen on; 0.0.0.0 is every one of this machine.
        port: Of HTTP; 0 is any free one.
        grpc_port: Of gRPC; 0 is any free one.
        provider: What computes; anything but auto is an error where it does not load.
        max_batch: Images that run at once, of several requests.
        max_delay_ms: How long an image may wait for others, in milliseconds.
        max_queue: Images that are accepted and not yet answered; more are refused with
            503.
        max_bytes: Of one request.
        max_pixels: Of one image.
        api_key_file: A file of keys, one in each line; a request needs one of them.
        tls_certificate: A PEM file of this server's certificate and those that lead to
            a known one; the server then speaks TLS alone.
        tls_key: A PEM file of its private key, without a password.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int = 8081
    provider: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
    max_batch: int = 32
    max_delay_ms: float = 2.0
    max_queue: int = 1024
    max_bytes: int = 64 * 2**20
    max_pixels: int = 50_000_000
    api_key_file: str | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None

    def __post_init__(self) -> None:
        at_least = {
            "port": 0,
            "grpc_port": 0,
            "max_batch": 1,
            "max_delay_ms": 0,
            "max_queue": 1,
            "max_bytes": 1,
            "max_pixels": 1,
        }
        for name, least in at_least.items():
            value = getattr(self, name)
            if not value >= least:  # NaN fails, too
                raise ValueError(
                    f"Expected `{name}` to be at least {least} but got {value}"
                )
        for name in ("port", "grpc_port"):
            if getattr(self, name) > 65535:
                raise ValueError(
                    f"Expected `{name}` to be at most 65535 but got "
                    f"{getattr(self, name)}"
                )
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError(
                "Expected both `tls_certificate` and `tls_key` but got one of them"
            )


def read_tls(settings: ServerSettings) -> tuple[bytes, bytes] | None:
    """The private key and the certificates. None: the server speaks no TLS.

    Raises:
        OSError: A file cannot be read, or they do not belong together.
    """
    key, certificate = settings.tls_key, settings.tls_certificate
    if key is None or certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a password OpenSSL would ask the terminal for one.
        context.load_cert_chain(certificate, key, password="")
        return Path(key).read_bytes(), Path(certificate).read_bytes()
    except OSError as error:  # it names no file
        raise OSError(
            f"Expected a certificate in {certificate} and its private key, without a "
            f"password, in {key} but got: {error}"
        ) from error


def read_keys(path: str | None) -> tuple[bytes, ...]:
    """The keys of a file, of which a request needs one. None: requests need no key.

    Raises:
        OSError: The file cannot be read.
        ValueError: There is no key in it.
    """
    if path is None:
        return ()
    keys = tuple(filter(None, map(bytes.strip, Path(path).read_bytes().splitlines())))
    if not keys:
        raise ValueError(f"Expected a key in each line of {path} but found none")
    return keys
