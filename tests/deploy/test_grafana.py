"""Grafana's dashboard and the alerts agree with the server's metrics."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.deploy.promtool import promtool
from tests.docs.documents import ROOT, table
from tests.support.redis_server import running_redis
from tests.support.server_process import ServerProcess
from tests.support.webhook_receiver import SECRET

DASHBOARD = ROOT / "deploy" / "grafana" / "synkora.json"
RULES = ROOT / "deploy" / "prometheus" / "synkora.rules.yml"
_NAME = re.compile(r"\b(?:synkora|process|python)_[a-z_]+")
_LABEL = re.compile(r"\b(?:by \(([a-z, ]+)\)|\{\{ ?(?:\$labels\.)?([a-z]+) ?\}\})")
_GIVEN = {"job", "instance", "le"}  # by Prometheus


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The metric families of two workers with Redis and of a single instance, by name."""
    with running_redis() as redis:
        joined = ServerProcess(tmp_path_factory.mktemp("joined"), REDIS_URL=redis.url, WS_WORKERS="2")
        webhooks = {"WEBHOOK_URL": "http://127.0.0.1:9", "WEBHOOK_SECRET": SECRET}
        outbox = {"PUBLISH_FROM": "postgres", "DATABASE_URL": "postgresql://app:app@127.0.0.1:9/app"}
        alone = ServerProcess(tmp_path_factory.mktemp("alone"), **webhooks, **outbox)
        joined.line(lambda line: "Redis is connected" in line)
        texts = [httpx.get(f"{server.url}/metrics", trust_env=False).text for server in (joined, alone)]
        assert [server.stop() for server in (joined, alone)] == [0, 0]
    return {family.name: family for text in texts for family in text_string_to_metric_families(text)}


@pytest.fixture(scope="module")
def samples(families: dict[str, Any]) -> dict[str, set[str]]:
    return {
        sample.name: set().union(*(each.labels for each in family.samples))
        for family in families.values()
        for sample in family.samples
    }


def _queries(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("expr"), str):
            yield node["expr"]
        if isinstance(node.get("definition"), str):
            yield node["definition"]
        for value in node.values():
            yield from _queries(value)
    elif isinstance(node, list):
        for value in node:
            yield from _queries(value)


def dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return read


def test_every_query_uses_existing_metrics(samples: dict[str, set[str]]) -> None:
    """Each metric and each label in the dashboard and in the alerts exists."""
    queries = [*_queries(dashboard()), RULES.read_text(encoding="utf-8")]
    assert len(queries) > 40
    asked = {name for query in queries for name in _NAME.findall(query)}
    assert asked <= samples.keys(), asked - samples.keys()
    known = _GIVEN.union(*samples.values())
    for query in queries:
        for names, name in _LABEL.findall(query):
            assert {each.strip() for each in (names or name).split(",")} <= known


def test_every_query_is_one(tmp_path: Path) -> None:
    """Prometheus' own parser accepts each query of the dashboard, with its variables replaced."""
    queries = [query for query in _queries(dashboard()) if not query.startswith("label_values")]
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "1m").replace("$job", ".+")}
        for number, query in enumerate(queries)
    ]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    done = promtool("check", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(queries)} rules found" in done.stdout


def test_the_dashboard_can_be_provisioned() -> None:
    """It has its own uid and no database id, its data source is a variable, and no two panels overlap."""
    read = dashboard()
    assert read["uid"] == "synkora"
    assert "id" not in read
    assert "__inputs" not in read
    panels = read["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert panel["targets"]


def test_every_metric_is_used_in_a_dashboard_or_alert(families: dict[str, Any]) -> None:
    text = DASHBOARD.read_text(encoding="utf-8")
    own = {name for name in families if name.startswith("synkora_")}
    assert {name for name in own if name not in text} <= {"synkora_signed_in_connections"}


def test_the_documents_tell_of_every_metric(families: dict[str, Any]) -> None:
    """The table has each of the server's own metrics with type and label."""
    rows = {row[0].strip("`"): (row[1], row[2].strip("`")) for row in table(ROOT / "docs" / "metrics.md", "metric")}
    own = {}
    for family in families.values():
        if family.name.startswith("synkora_"):
            labels = set().union(*(sample.labels for sample in family.samples)) - {"le"}
            if family.name != "synkora_worker_up":
                labels.discard("worker")  # on pages of several workers
            name = family.name + ("_total" if family.type == "counter" else "")
            own[name] = (family.type, ", ".join(sorted(labels)) or "-")
    assert rows == own
