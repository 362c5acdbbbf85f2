"""Logs as lines of JSON, which hold nothing of an image."""

import json
import logging
from datetime import datetime, timezone

log = logging.getLogger("rkdo.serve")


class JSONLines(logging.Formatter):
    """One JSON object a line: time, level, event, and the `fields` of the record."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as a line."""
        line = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
            "level": record.levelname,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure() -> None:
    """Send everything to standard error, what other packages warn about, too."""
    handler = logging.StreamHandler()
    handler.setFormatter(JSONLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    log.setLevel(logging.INFO)
