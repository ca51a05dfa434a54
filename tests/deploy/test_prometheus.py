"""The files for Prometheus, tried by its own tool."""

from pathlib import Path

import pytest
from tests.deploy.promtool import promtool
from tests.docs.documents import ROOT, table

FOLDER = ROOT / "deploy" / "prometheus"
RULES = FOLDER / "synkora.rules.yml"
CASES = Path(__file__).with_name("rules.test.yml")
THRESHOLDS = {
    "== 0\n        for: 1m": "== 7\n        for: 1m",
    "< 0.95": "< 0.2",
    "[5m]))) > 0.1": "[5m]))) > 0.9",
    "[10m]) > 0\n": "[10m]) > 9\n",
    "== 0\n        for: 30s": "== 7\n        for: 30s",
    "[2m]) > 0.1": "[2m]) > 0.9",
    "unavailable": "denied",
    "> 20": "> 2000",
    "> 10\n": "> 1000\n",
    "Server is full": "Server is empty",
    "> 0.9\n": "> 0.99\n",
}


def test_the_files_are_sound() -> None:
    """promtool finds nothing wrong with the rules, nor with the part for prometheus.yml."""
    for arguments in (("check", "rules", RULES), ("check", "config", FOLDER / "prometheus.yml")):
        done = promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should_and_at_no_other_time() -> None:
    """Each has a case in which it alone fires, after a while in which it does not; while all is well none does."""
    done = promtool("test", "rules", CASES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_every_alert_is_tried(tmp_path: Path, threshold: str) -> None:
    """An alert with another threshold fails its case."""
    rules = RULES.read_text(encoding="utf-8")
    assert rules.count(threshold) == 1
    (tmp_path / RULES.name).write_text(rules.replace(threshold, THRESHOLDS[threshold]), encoding="utf-8")
    cases = CASES.read_text(encoding="utf-8").replace("../../deploy/prometheus/", "")
    (tmp_path / CASES.name).write_text(cases, encoding="utf-8")
    assert promtool("test", "rules", tmp_path / CASES.name).returncode == 1


def test_every_alert_is_told_in_the_documents() -> None:
    """The table of alerts has each of them, in the file's order."""
    names = [line.split()[-1] for line in RULES.read_text(encoding="utf-8").splitlines() if "- alert:" in line]
    assert [row[0] for row in table(ROOT / "docs" / "metrics.md", "alert")] == [f"`{name}`" for name in names]
