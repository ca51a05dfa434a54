"""The app's database with an outbox, which tests change with psql, and the instances that read the outbox."""

import asyncio
import subprocess

import httpx
from prometheus_client.parser import text_string_to_metric_families
from tests.access.processes import Postgres, find_program
from tests.docs.documents import ROOT, blocks
from tests.support.processes import PATIENCE
from tests.support.server_process import ServerProcess

_TASKS = 'CREATE TABLE "Task" (id text PRIMARY KEY, title text, status text, "projectId" text);'


def make_outbox(postgres: Postgres) -> None:
    """Make the outbox, a table of tasks, and the document's trigger for it, in an empty database."""
    outbox = (ROOT / "deploy" / "postgres" / "outbox.sql").read_text()
    samples = blocks(ROOT / "docs" / "outbox.md", "sql")
    (trigger,) = [block.text for block in samples if "CREATE FUNCTION" in block.text]
    psql(postgres, f"DROP SCHEMA public CASCADE; CREATE SCHEMA public; {outbox} {_TASKS} {trigger}")


def psql(postgres: Postgres, commands: str, **variables: str) -> None:
    options = [f"--set={name}={value}" for name, value in {"ON_ERROR_STOP": "1", **variables}.items()]
    command = [find_program("psql"), "--quiet", *options, postgres.url()]
    subprocess.run(command, input=commands, text=True, check=True, capture_output=True, timeout=PATIENCE)


async def read_metrics(server: ServerProcess) -> dict[str, float]:
    """The outbox's samples; names without the common part, and with the label's value in braces."""
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
        text = (await http.get(f"{server.url}/metrics")).text
    return {
        sample.name.removeprefix("synkora_database_outbox_") + "".join(f"{{{v}}}" for v in sample.labels.values()): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def until_metrics(server: ServerProcess, **wanted: float) -> dict[str, float]:
    """Wait until the metrics have the `wanted` values, and return all."""
    found: dict[str, float] = {}
    async with asyncio.timeout(PATIENCE):
        while not wanted.items() <= (found := await read_metrics(server)).items():
            await asyncio.sleep(0.1)
    return found


async def reader_and_other(*servers: ServerProcess) -> tuple[ServerProcess, ServerProcess]:
    """Wait until one of two servers reads; it is the first of the result."""
    first, second = servers
    async with asyncio.timeout(PATIENCE):
        while True:
            if (await read_metrics(first))["reader"]:
                return first, second
            if (await read_metrics(second))["reader"]:
                return second, first
