"""The Kubernetes manifests agree with their schemas, the image and the server."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.dockerfile import stages, texts
from tests.docs.documents import ROOT, table

from synkora.app.settings import Settings
from synkora.app.settings.variables import describe

FOLDER = ROOT / "deploy" / "kubernetes"
FILE = FOLDER / "synkora.yaml"
MANIFESTS: dict[str, Any] = {each["kind"]: each for each in yaml.safe_load_all(FILE.read_text(encoding="utf-8"))}
POD = MANIFESTS["Deployment"]["spec"]["template"]["spec"]
(SERVER,) = POD["containers"]
(IMAGE_PORT,) = texts(stages(ROOT / "deploy" / "docker" / "Dockerfile")[-1], "EXPOSE")


@pytest.mark.parametrize("version", ["1.29", "1.37"])
def test_they_keep_to_the_schemas(version: str) -> None:
    """The strict schema of each kind, which allows no other fields, accepts them."""
    validate: list[str | Path] = [
        Path(sys.executable).with_name("kubernetes-validate"),
        "--strict",
        "-k",
        version,
        FILE,
    ]
    done = subprocess.run(validate, capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count(" passed for resource ") == len(MANIFESTS)


def test_they_are_about_the_same_pods() -> None:
    """Selectors match the Deployment's labels, and ports match the image's."""
    spec = MANIFESTS["Deployment"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == labels
    assert MANIFESTS["Service"]["spec"]["selector"] == labels
    assert MANIFESTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    name = MANIFESTS["Deployment"]["metadata"]["name"]
    assert MANIFESTS["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == name
    assert {"configMapRef": {"name": MANIFESTS["ConfigMap"]["metadata"]["name"]}} in SERVER["envFrom"]
    (port,) = SERVER["ports"]
    assert str(port["containerPort"]) == IMAGE_PORT
    (service_port,) = MANIFESTS["Service"]["spec"]["ports"]
    assert service_port["targetPort"] == port["name"]
    (rule,) = MANIFESTS["Ingress"]["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["path"] == Settings.model_fields["path"].default
    backend = path["backend"]["service"]
    assert (backend["name"], backend["port"]["name"]) == (
        MANIFESTS["Service"]["metadata"]["name"],
        service_port["name"],
    )


def test_the_settings_are_the_servers() -> None:
    assert MANIFESTS["ConfigMap"]["data"].keys() <= {variable.name for variable in describe()}


def test_there_is_time_to_drain() -> None:
    """The grace period is longer than the server's own shutdown."""
    (pause,) = SERVER["lifecycle"]["preStop"]["exec"]["command"][1:]
    drain = int(MANIFESTS["ConfigMap"]["data"]["SHUTDOWN_DRAIN"])
    takes = int(pause) + drain + Settings.model_fields["shutdown_timeout"].default
    assert POD["terminationGracePeriodSeconds"] > takes


def test_it_may_do_nothing_but_serve() -> None:
    """As the image's user, with a read-only file system, no capabilities and no API token."""
    user, group = texts(stages(ROOT / "deploy" / "docker" / "Dockerfile")[-1], "USER")[0].split(":")
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert (POD["securityContext"]["runAsUser"], POD["securityContext"]["runAsGroup"]) == (int(user), int(group))
    assert POD["automountServiceAccountToken"] is False
    assert SERVER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_autoscaler_uses_an_existing_metric() -> None:
    """The adapter serves this metric of the server."""
    name = MANIFESTS["HorizontalPodAutoscaler"]["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert f"`{name}`" in {row[0] for row in table(ROOT / "docs" / "metrics.md", "metric")}
    (rule,) = yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text(encoding="utf-8"))["rules"]["custom"]
    assert rule["seriesQuery"].startswith(f"{name}{{")
