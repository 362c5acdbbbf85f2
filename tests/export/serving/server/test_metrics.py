"""What Prometheus reads."""

import http.client
from contextlib import suppress

import numpy as np
import tritonclient.http
from prometheus_client.parser import text_string_to_metric_families
from servers import address, serving, tensor
from tritonclient.utils import InferenceServerException


def scraped(server):
    connection = http.client.HTTPConnection(address(server), timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_batches_and_times_are_counted(stub):
    with (
        serving({"counted": stub}) as server,
        tritonclient.http.InferenceServerClient(address(server)) as client,
    ):
        before = scraped(server)
        client.infer("counted", [tensor(np.zeros((3, 2, 2, 3), np.uint8))])
        client.infer("counted", [tensor(np.zeros((2, 2, 2, 3), np.uint8))])
        with suppress(InferenceServerException):
            client.infer("counted", [tensor(np.zeros((3, 2), np.uint8))])
        after = scraped(server)

    def more(*key):
        return after[key] - before.get(key, 0)

    assert more("rkdo_requests_total", "BAD_REQUEST", "http") == 1
    assert more("rkdo_requests_total", "OK", "http") == 3  # /metrics is one
    assert more("rkdo_batch_images_count", "counted") == 2
    assert more("rkdo_batch_images_sum", "counted") == 5
    assert more("rkdo_queue_seconds_count", "counted") == 2
    assert more("rkdo_model_seconds_count", "counted") == 2
    assert more("rkdo_model_seconds_sum", "counted") > 0
