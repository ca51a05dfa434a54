"""The metrics besides the counts of clients' actions."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from tests.collaboration.site import Site, token_of
from tests.collaboration.tabs import one_lost
from tests.docs.documents import ROOT, table
from tests.support.clients import Polling, WebSocket, socketio
from tests.support.processes import PATIENCE
from tests.support.servers import serving, until

from synkora import __version__
from synkora.app.health import make_app
from synkora.app.instance import Instance
from synkora.app.logs.repeated_lines import RepeatedLines
from synkora.app.metrics import page
from synkora.app.metrics.collector import ServerCollector
from synkora.app.metrics.page import metrics_route
from synkora.collaboration.access_answers import AccessOutcome
from synkora.collaboration.authentication import SignInOutcome
from synkora.engine.incidents import IncidentKind, Limit

TOKEN = "the-token-of-these-metrics-51c0"


class MeasuredSite(Site):
    def __init__(self, token: str | None = None) -> None:
        super().__init__()
        repeats = RepeatedLines()
        repeats.levels.update(warning=3, info=9)
        instance = Instance(self.server, self.collaboration, repeats=repeats)
        secret = None if token is None else SecretStr(token)
        self.app = make_app(instance, [metrics_route(ServerCollector(instance), secret)])

    async def ask(self, **headers: str) -> httpx.Response:
        given = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
        async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False, headers=given) as http:
            return await http.get(self.address.http + "/metrics")

    async def read(self) -> dict[str, float]:
        """All samples by name, with the label's value in braces."""
        answer = await self.ask()
        return {
            sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }


@pytest_asyncio.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MeasuredSite]:
    """Synkora on a port, with metrics that are rendered for each request."""
    monkeypatch.setattr(page, "KEPT", 0)
    site = MeasuredSite()
    async with serving(site.server, app=site.app) as address:
        site.address = address
        yield site


async def join(site: MeasuredSite, *clients: WebSocket) -> None:
    """Let clients join a project one after the other, and consume their events."""
    for number, client in enumerate(clients, 1):
        await client.event()  # connected
        await client.emit("join-project", "p")
        for _ in range(2):
            await client.event()
        for other in clients[: number - 1]:
            for _ in range(2):
                await other.event()


async def test_metrics_count_the_clients_actions(site: MeasuredSite) -> None:
    async with socketio(site.address, {"token": token_of("Alice")}) as alice:
        async with (
            socketio(site.address, {"token": token_of("Alice")}) as tab,
            socketio(site.address, {"token": token_of("Bob")}) as bob,
            Polling(site.address),
        ):
            await join(site, alice, tab, bob)
            before = await site.read()
            for name in ("canvas:cursor", "canvas:cursor", "task:create"):
                await alice.emit(name, {"projectId": "p"})
                for other in (tab, bob):
                    await other.event()
            await alice.emit("made up", {"secret": "7"})
            await alice.event()
            after = await site.read()
            assert before["synkora_connections{websocket}"] == 3
            assert before["synkora_connections{polling}"] == 1
            assert before["synkora_signed_in_connections"] == 3
            assert before["synkora_users"] == 2
            assert before["synkora_projects"] == 1
            assert before["synkora_joins_total"] == 3
            assert before["synkora_sign_ins_total{ok}"] == 3
            assert before["synkora_events_received_total{join-project}"] == 3
            grown = {name: after[name] - before[name] for name in after if after[name] != before[name]}
            sent = [["canvas:cursor", {"projectId": "p"}]] * 2
            sent += [["task:create", {"projectId": "p"}], ["made up", {"secret": "7"}]]
            assert grown["synkora_events_received_total{canvas:cursor}"] == 2
            assert grown["synkora_events_received_total{task:create}"] == 1
            assert grown["synkora_events_received_total{other}"] == 1
            assert grown["synkora_events_refused_total"] == 1
            assert grown["synkora_deliveries_total"] == 7
            assert grown["synkora_received_bytes_total"] == sum(3 - 1 + len(json.dumps(event)) for event in sent)
            assert grown["synkora_turn_duration_seconds_count"] == 4
            assert "synkora_log_entries_total{info}" not in after
            assert after["synkora_log_entries_total{warning}"] == 3
            assert after["synkora_log_entries_total{error}"] == 0
        await until(lambda: site.collaboration.connections == 1)
        ended = await site.read()
        assert ended["synkora_disconnects_total{transport close}"] == 2
        assert ended["synkora_connections{websocket}"] == 1
        assert ended["synkora_connections_opened_total{websocket}"] == 3
        assert ended["synkora_connections_opened_total{polling}"] == 1


async def test_failures_are_counted_from_zero(site: MeasuredSite) -> None:
    """Kinds and limits exist before the first incident. Text from clients is never a label."""
    before = await site.read()
    assert {name for name in before if name.startswith("synkora_incidents")} == {
        f"synkora_incidents_total{{{kind}}}" for kind in IncidentKind
    }
    for number in range(3):
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(site.address.url(), headers={"Origin": f"https://{number}.evil.example"})
        assert answer.status_code == 403
    async with socketio(site.address, {"token": token_of("Alice")}) as alice:
        for _ in range(70):
            await alice.emit("leave-project", "p")
        await until(lambda: site.server.incidents.limits[Limit.OTHER_EVENTS])
        after = await site.read()
    assert after["synkora_incidents_total{origin refused}"] == 3
    assert after["synkora_limits_hit_total{other events}"] > 0
    assert after.keys() == before.keys()
    assert "evil" not in (await site.ask()).text


def test_the_kinds_are_documented() -> None:
    assert [kind for kind, _ in table(ROOT / "docs" / "security-details.md", "kind")] == [*IncidentKind]


async def test_backlogs_are_reported(site: MeasuredSite) -> None:
    async with Polling(site.address) as slow, Polling(site.address):
        site.server._registry.find(slow.sid).send(b"x" * 5000)
        await asyncio.sleep(0)
        figures = await site.read()
        assert figures["synkora_outbox_clients"] == 1
        assert figures["synkora_outbox_bytes"] > 5000
        await slow.poll()
        assert (await site.read())["synkora_outbox_bytes"] == 0


async def test_histograms_add_up(site: MeasuredSite) -> None:
    """Buckets grow with their bounds, and the last one counts everything."""
    async with socketio(site.address, {"token": token_of("Alice")}) as alice:
        await alice.event()
        figures = await site.read()
    for name in ("turn_duration", "sign_in_duration", "access_check_duration", "loop_lag"):
        buckets = [value for each, value in figures.items() if each.startswith(f"synkora_{name}_seconds_bucket")]
        assert buckets == sorted(buckets)
        assert buckets[-1] == figures[f"synkora_{name}_seconds_count"]
    assert figures["synkora_sign_in_duration_seconds_count"] == 1
    assert figures["synkora_sign_in_duration_seconds_sum"] > 0


@pytest.mark.parametrize(
    ("accept", "content_type", "parse"),
    [
        ("*/*", "text/plain; version=0.0.4; charset=utf-8", text_string_to_metric_families),
        (
            "application/openmetrics-text;version=1.0.0",
            "application/openmetrics-text; version=1.0.0",
            parse_openmetrics,
        ),
    ],
)
async def test_both_formats(site: MeasuredSite, accept: str, content_type: str, parse: Callable[[str], Any]) -> None:
    """Prometheus' text format, and OpenMetrics on request, with the version and the process's metrics."""
    answer = await site.ask(Accept=accept)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(content_type)
    families = {family.name: family for family in parse(answer.text)}
    (build,) = families["synkora_build" if "openmetrics" in accept else "synkora_build_info"].samples
    assert build.labels == {"version": __version__}
    assert families["process_resident_memory_bytes"].samples[0].value > 1_000_000


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN}", 200),
        ("", 401),
        ("Bearer", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        ("Bearer \xe9", 401),
    ],
)
async def test_a_token_is_needed_where_there_is_one(authorization: str, status: int) -> None:
    site = MeasuredSite(TOKEN)
    async with serving(site.server, app=site.app) as site.address:
        answer = await site.ask(Authorization=authorization)
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.text == "METRICS_TOKEN is needed"


async def test_returns_and_what_is_kept_for_them_are_counted() -> None:
    site = Site(recovery=True)
    collector = ServerCollector(Instance(site.server, site.collaboration))

    def values() -> dict[str, float]:
        samples = [sample for family in collector.collect() for sample in family.samples]
        wanted = [
            each for each in samples if each.labels.get("outcome") in (None, "recovered") and "le" not in each.labels
        ]
        return {sample.name: sample.value for sample in wanted if "recover" in sample.name or "replay" in sample.name}

    ann, bob = await one_lost(site)
    await bob.create("missed")
    kept = values()["synkora_recovery_log_bytes"]
    assert kept > 0
    await ann.restore()
    assert values() == {
        "synkora_recoveries_total": 1,
        "synkora_replay_events_count": 1,
        "synkora_replay_events_sum": 1,
        "synkora_replayed_bytes_total": kept,
        "synkora_recovery_log_bytes": kept,
        "synkora_recovery_events_lost_total": 0,
        "synkora_recovery_gaps_total": 0,
    }


def test_outcomes_are_the_labels_that_alerts_rely_on() -> None:
    """Answers to clients can be reworded. A changed label would break operators' dashboards and alerts."""
    outcomes = "ok, Authentication required, Authentication failed, Invalid token, unavailable"
    assert ", ".join(SignInOutcome) == outcomes
    assert [*AccessOutcome] == ["granted", "denied", "unavailable"]
