"""What every request passes first: keys and limits; and what is noted of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hmac import compare_digest
from typing import Any

from rkdo_plugin.export.serving.server.batching import QueueFullError
from rkdo_plugin.export.serving.server.logs import log
from rkdo_plugin.export.serving.server.metrics import REQUESTS

HELD = 4  # requests of the largest size whose bytes are held at once


class Gate:
    """Keys, and the bytes of all requests that are being answered.

    Args:
        keys: A request needs one of them; with none it needs none.
        max_bytes: Of one request.
    """

    def __init__(self, keys: tuple[bytes, ...], max_bytes: int) -> None:
        self._keys, self.max_bytes = keys, max_bytes
        self._held = 0

    def knows(self, authorization: str | bytes) -> bool:
        """Whether `Bearer KEY` has one of the keys, or none is needed."""
        if isinstance(authorization, str):
            authorization = authorization.encode()
        scheme, _, given = authorization.partition(b" ")
        matches = [compare_digest(given.strip(), key) for key in self._keys]
        return not self._keys or (scheme.lower() == b"bearer" and any(matches))

    @contextmanager
    def holding(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that counts bytes of a request until it is answered.

        The function raises QueueFullError where all requests together hold too many.
        """
        mine = 0

        def hold(size: int) -> None:
            nonlocal mine
            if self._held + size > HELD * self.max_bytes:
                raise QueueFullError(
                    f"Expected at most {HELD * self.max_bytes} bytes of requests at "
                    "once but more came"
                )
            self._held += size
            mine += size

        try:
            yield hold
        finally:
            self._held -= mine


@contextmanager
def noted(protocol: str, place: str) -> Iterator[dict[str, Any]]:
    """Count and log a request, with the fields that the block fills in."""
    fields: dict[str, Any] = {"protocol": protocol, "place": place[:200]}
    started = time.monotonic()
    try:
        yield fields
    finally:
        outcome = fields.setdefault("outcome", "DISCONNECTED")
        fields["seconds"] = round(time.monotonic() - started, 6)
        REQUESTS.labels(protocol, outcome).inc()
        log.info("request", extra={"fields": fields})
