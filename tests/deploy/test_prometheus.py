"""The files for Prometheus, checked by its own tool."""

import re
from pathlib import Path

import pytest
from tests.deploy.promtool import promtool
from tests.docs.documents import ROOT, table

FOLDER = ROOT / "deploy" / "prometheus"
RULES = FOLDER / "synkora.rules.yml"
CASES = Path(__file__).with_name("rules.test.yml")
ALERTS = re.findall("- alert: (.+)", RULES.read_text(encoding="utf-8"))
#: Of each alert.
THRESHOLDS = {
    "== 0\n        for: 1m": "== 7\n        for: 1m",
    "(synkora_worker_up) < 1": "(synkora_worker_up) < 0",
    "< 0.95": "< 0.2",
    "[5m]))) > 0.1": "[5m]))) > 0.9",
    'level="error"}[10m]) > 0\n': 'level="error"}[10m]) > 9\n',
    "== 0\n        for: 30s": "== 7\n        for: 30s",
    "[2m]) > 0.1": "[2m]) > 0.9",
    "> 300\n": "> 3000\n",
    "dropped_total[10m]) > 0": "dropped_total[10m]) > 9",
    "(synkora_database_outbox_reader) < 1": "(synkora_database_outbox_reader) < 0",
    "aside_total[10m])) > 0": "aside_total[10m])) > 9",
    "> 30\n": "> 3000\n",
    "unavailable": "denied",
    "> 20": "> 2000",
    "> 10\n": "> 1000\n",
    "Server is full": "Server is empty",
    "> 0.9\n": "> 0.99\n",
}


def test_the_files_are_sound() -> None:
    """promtool finds no error in the rules, nor in the part for prometheus.yml."""
    for arguments in (("check", "rules", RULES), ("check", "config", FOLDER / "prometheus.yml")):
        done = promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should_and_at_no_other_time() -> None:
    """Each has a case in which only this alert fires, after a while without it. In the healthy case none fires."""
    done = promtool("test", "rules", CASES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> str:
    """promtool's output for the cases when each alert has another threshold."""
    folder = tmp_path_factory.mktemp("rules")
    rules = RULES.read_text(encoding="utf-8")
    assert [rules.count(threshold) for threshold in THRESHOLDS] == [1] * len(ALERTS)
    changed = re.sub("|".join(map(re.escape, THRESHOLDS)), lambda found: THRESHOLDS[found[0]], rules)
    (folder / RULES.name).write_text(changed, encoding="utf-8")
    cases = CASES.read_text(encoding="utf-8").replace("../../deploy/prometheus/", "")
    (folder / CASES.name).write_text(cases, encoding="utf-8")
    done = promtool("test", "rules", folder / CASES.name)
    assert done.returncode == 1
    return done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_tried(complaints: str, alert: str) -> None:
    """With another threshold, an alert does not fire in its case, and the case fails."""
    assert re.search(rf'exp: {{alertname="{alert}"}} 1E\+00\s+got: nil', complaints), complaints


def test_every_alert_is_documented() -> None:
    assert [row[0] for row in table(ROOT / "docs" / "metrics.md", "alert")] == [f"`{name}`" for name in ALERTS]
