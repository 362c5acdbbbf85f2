"""The manifest by which KServe runs `rkdo serve` on a cluster, and scales it."""

import re
from collections.abc import Sequence
from dataclasses import fields
from importlib import metadata
from pathlib import Path

import yaml
from kserve import (
    ApiClient,
    V1beta1InferenceService,
    V1beta1InferenceServiceSpec,
    V1beta1PredictorSpec,
)
from kubernetes.client import (
    V1Container,
    V1ContainerPort,
    V1EnvVar,
    V1HTTPGetAction,
    V1ObjectMeta,
    V1Probe,
    V1ResourceRequirements,
    V1SecretVolumeSource,
    V1SecurityContext,
    V1Volume,
    V1VolumeMount,
)

from rkdo_plugin.export.file.model_file import read_model
from rkdo_plugin.export.serving.server.run import named
from rkdo_plugin.export.serving.server_settings import ServerSettings

MOUNTED = "/mnt/models"  # where KServe puts what STORAGE_URI names
KEYS = "/etc/rkdo"
HEADER = """\
# Replace the image, which docs/serving/Dockerfile builds, and STORAGE_URI, the folder
# of the model files: s3://, gs://, pvc://, https:// and what else KServe reads.
"""


def manifest(models: Sequence[str | Path], settings: ServerSettings) -> str:
    """An InferenceService of KServe's that serves these files, as YAML.

    Args:
        models: Files that `export_onnx` wrote. Their names are those in the storage.
        settings: Limits, which the manifest passes on. Its ports are those of KServe.

    Raises:
        OSError: A model is missing.
        ValueError: A model is damaged, two have one name, or the settings have a
            certificate.
    """
    if settings.tls_certificate is not None:
        raise ValueError(
            "Expected no `tls_certificate` in a manifest but got "
            f"{settings.tls_certificate}: KServe's gateway has the certificate"
        )
    paths = named(models)
    for path in paths.values():
        read_model(path)
    name = re.sub("[^a-z0-9]+", "-", next(iter(paths)).lower()).strip("-")[:40]
    name = f"rkdo-{name}".rstrip("-")
    limits = {"cpu": "2", "memory": "4Gi"}
    if settings.provider in ("cuda", "tensorrt"):
        limits["nvidia.com/gpu"] = "1"
    container = V1Container(
        name="kserve-container",
        image=f"registry.example/rkdo-serve:{metadata.version('rkdo-plugin')}",
        args=[
            *(f"{MOUNTED}/{path.name}" for path in paths.values()),
            *_words(settings),
        ],
        env=[V1EnvVar(name="STORAGE_URI", value="s3://bucket/models")],
        ports=[V1ContainerPort(container_port=8080, protocol="TCP")],
        readiness_probe=V1Probe(
            http_get=V1HTTPGetAction(path="/v2/health/ready", port=8080)
        ),
        resources=V1ResourceRequirements(requests=limits, limits=limits),
        security_context=V1SecurityContext(
            allow_privilege_escalation=False, run_as_non_root=True
        ),
    )
    volumes = None
    if settings.api_key_file is not None:
        secret = V1SecretVolumeSource(secret_name=f"{name}-keys")
        volumes = [V1Volume(name="keys", secret=secret)]
        container.volume_mounts = [
            V1VolumeMount(name="keys", mount_path=KEYS, read_only=True)
        ]
    service = V1beta1InferenceService(
        api_version="serving.kserve.io/v1beta1",
        kind="InferenceService",
        metadata=V1ObjectMeta(name=name),
        spec=V1beta1InferenceServiceSpec(
            predictor=V1beta1PredictorSpec(
                containers=[container], min_replicas=1, max_replicas=8, volumes=volumes
            )
        ),
    )
    fields_of = ApiClient().sanitize_for_serialization(service)
    return HEADER + yaml.safe_dump(fields_of, sort_keys=False)


def _words(settings: ServerSettings) -> list[str]:
    """The options that differ from their defaults, as `rkdo serve` takes them."""
    words = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.name in ("host", "port", "grpc_port") or value == field.default:
            continue
        if field.name == "api_key_file":
            value = f"{KEYS}/{Path(value).name}"
        words += [f"--{field.name.replace('_', '-')}", str(value)]
    return words
