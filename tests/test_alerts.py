"""The alert rules in `deploy/` are sound, and watch metrics that the service has."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RULES = ROOT / "deploy" / "prometheus"

promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (it comes with Prometheus)"
)


@promtool
@pytest.mark.parametrize("check", [("check", "alerts.yml"), ("test", "alerts.test.yml")])
def test_prometheus_takes_the_rules(check: tuple[str, str]) -> None:
    """Promtool parses every rule, and each fires when it must and stays silent when it must."""
    what, name = check
    ran = subprocess.run(
        [str(shutil.which("promtool")), what, "rules", name],
        cwd=RULES,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_rules_watch_metrics_that_exist() -> None:
    """Every metric that a rule or its test names is in the reference made from the code."""
    known = set(re.findall(r"`(penstock_\w+)`", (ROOT / "docs/reference/metrics.md").read_text()))
    for name in ("alerts.yml", "alerts.test.yml"):
        named = set(re.findall(r"\bpenstock_[a-z_]+", (RULES / name).read_text()))
        assert named
        assert named <= known, named - known
