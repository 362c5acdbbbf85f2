"""KServe's own classes read the manifest, and the Dockerfile fits it."""

import re

import pytest
import yaml
from checkout import PYPROJECT, ROOT
from kserve.constants import constants
from kserve.models import (
    V1beta1InferenceService,
    V1beta1InferenceServiceSpec,
    V1beta1PredictorSpec,
)
from kubernetes.client import V1Container

from rkdo_plugin.cli.main import main
from rkdo_plugin.export.serving.server.manifest import manifest
from rkdo_plugin.export.serving.server_settings import ServerSettings


def known(kind, fields):
    """These fields, if an object of KServe's or Kubernetes' class takes each."""
    names = {name: each for each, name in kind.attribute_map.items()}
    assert fields.keys() <= names.keys()
    kind(**{names[name]: value for name, value in fields.items()})
    return fields


def parts(text):
    """The service, its predictor and the predictor's container."""
    service = known(V1beta1InferenceService, yaml.safe_load(text))
    spec = known(V1beta1InferenceServiceSpec, service["spec"])
    predictor = known(V1beta1PredictorSpec, spec["predictor"])
    (container,) = predictor["containers"]
    return service, predictor, known(V1Container, container)


def test_kserves_own_classes_read_the_manifest(small_file, capsys):
    words = ["serve", str(small_file), "--kubernetes", "--max-batch", "8"]
    assert main([*words, "--host", "0.0.0.0", "--port", "9000"]) == 0
    service, predictor, container = parts(capsys.readouterr().out)
    assert service["apiVersion"] == constants.KSERVE_V1BETA1
    assert service["kind"] == constants.KSERVE_KIND_INFERENCESERVICE
    assert service["metadata"] == {"name": "rkdo-small"}
    assert predictor["minReplicas"] == 1 < predictor["maxReplicas"]
    assert container["name"] == "kserve-container"
    # The server listens where KServe looks for it, whatever port is asked for here.
    assert container["args"] == ["/mnt/models/small.onnx", "--max-batch", "8"]
    assert container["ports"] == [{"containerPort": 8080, "protocol": "TCP"}]
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    assert "nvidia.com/gpu" not in container["resources"]["limits"]


def test_a_certificate_is_the_gateways(small_file):
    settings = ServerSettings(tls_certificate="x.pem", tls_key="y.pem")
    with pytest.raises(ValueError, match=r"no `tls_certificate` .*got x\.pem"):
        manifest([small_file], settings)


def test_the_keys_are_a_secret_and_a_gpu_is_asked_for(small_file):
    settings = ServerSettings(api_key_file="mine/keys.txt", provider="cuda")
    _, predictor, container = parts(manifest([small_file], settings))
    keys = container["args"][container["args"].index("--api-key-file") + 1]
    (mount,), (volume,) = container["volumeMounts"], predictor["volumes"]
    assert keys == mount["mountPath"] + "/keys.txt" and mount["readOnly"]
    secret = {"secretName": "rkdo-small-keys"}
    assert volume == {"name": mount["name"], "secret": secret}
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"


@pytest.mark.parametrize(
    ("stem", "name"), [("A_b.c", "rkdo-a-b-c"), ("___", "rkdo"), ("x" * 90, "rkdo-xxx")]
)
def test_a_name_that_kubernetes_takes(copied, stem, name):
    path = copied.rename(copied.with_name(f"{stem}.onnx"))
    found = yaml.safe_load(manifest([path], ServerSettings()))["metadata"]["name"]
    assert found.startswith(name) and re.fullmatch("[a-z0-9-]{1,52}[a-z0-9]", found)


def test_a_model_that_is_missing(capsys):
    assert main(["serve", "nowhere.onnx", "--kubernetes"]) == 1
    assert "nowhere.onnx" in capsys.readouterr().err


@pytest.mark.parametrize("variant", ["Dockerfile", "Dockerfile.gpu"])
def test_the_dockerfile(variant):
    text = (ROOT / "docs" / "serving" / variant).read_text()
    lines = [line for line in text.splitlines() if line and line[0] not in "# "]
    (base,) = [line for line in lines if line.startswith("FROM")]
    assert re.fullmatch(r"FROM python:3\.\d+\.\d+-slim-\w+", base), "pin the base"
    (user,) = [line for line in lines if line.startswith("USER")]
    assert int(user.split()[1]) > 0
    (entry,) = [line for line in lines if line.startswith("ENTRYPOINT")]
    assert entry == 'ENTRYPOINT ["rkdo", "serve", "--host", "0.0.0.0"]'
    assert "EXPOSE 8080 8081" in lines
    named = re.search(r'"\$wheel\[([\w,]+)\]"', text)[1].split(",")
    assert "serve" in named and ("cuda" in named) == variant.endswith("gpu")
    assert set(named) <= PYPROJECT["project"]["optional-dependencies"].keys()
