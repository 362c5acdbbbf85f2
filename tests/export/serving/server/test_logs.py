"""Lines of JSON, whatever is logged."""

import json
import logging

from rkdo_plugin.export.serving.server.logs import JSONLines


def line(*arguments, **options):
    record = logging.LogRecord("rkdo.serve", logging.INFO, "", 0, *arguments)
    record.__dict__.update(options)
    return json.loads(JSONLines().format(record))


def test_a_record_is_an_object_with_its_fields():
    written = line('two\nlines and "quotes"', (), None, fields={"bytes": 3})
    assert written.pop("time").endswith("+00:00")
    expected = {"level": "INFO", "event": 'two\nlines and "quotes"', "bytes": 3}
    assert written == expected


def test_an_error_has_its_trace():
    try:
        raise ValueError("why")
    except ValueError as error:
        written = line("failed", (), (ValueError, error, error.__traceback__))
    assert "ValueError: why" in written["trace"]
