"""What Prometheus reads at /metrics, beside KServe's own figures."""

from prometheus_client import Counter, Histogram

from rkdo_plugin.export.serving.server.batching import Ran

REQUESTS = Counter("rkdo_requests", "Requests by outcome.", ["protocol", "outcome"])
BATCH_IMAGES = Histogram(
    "rkdo_batch_images",
    "Images in a batch.",
    ["model"],
    buckets=[2**power for power in range(9)],
)
QUEUE_SECONDS = Histogram(
    "rkdo_queue_seconds", "Time that a decoded request waited for its batch.", ["model"]
)
MODEL_SECONDS = Histogram(
    "rkdo_model_seconds", "Time that the encoder took for a batch.", ["model"]
)


def count_batch(model: str, ran: Ran) -> None:
    """Add what one batch took."""
    BATCH_IMAGES.labels(model).observe(ran.images)
    MODEL_SECONDS.labels(model).observe(ran.seconds)
    for waited in ran.waited:
        QUEUE_SECONDS.labels(model).observe(waited)
