"""The benchmark's command line."""

from pathlib import Path

import pytest
from bench.catalogue import BY_NAME
from bench.options import options
from bench.workloads import NODE, SYNKORA


def test_options_are_read() -> None:
    """Workloads by name and by numbers, servers by name, rounds and files."""
    chosen = options(
        [
            "--full",
            "--rounds=2",
            "--seconds=0.5",
            "--workload=steady",
            "--workload=20/2/1",
            "--server=node",
            "--server=synkora",
            "--json=a.json",
            "--svg=a.svg",
        ]
    )
    assert (chosen.full, chosen.rounds, chosen.seconds) == (True, 2, 0.5)
    assert chosen.workload is not None
    assert chosen.workload[0] is BY_NAME["steady"]
    assert (chosen.workload[1].clients, chosen.workload[1].projects, chosen.workload[1].window) == (20, 2, 1)
    assert chosen.server == [NODE, SYNKORA]
    assert (chosen.json, chosen.svg) == (Path("a.json"), Path("a.svg"))


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--workload=fast", "'fast' is neither of --list nor CLIENTS/PROJECTS/WINDOW"),
        ("--workload=10/3/1", "the clients have to be a multiple of the projects"),
        ("--workload=10/10/1", "a client alone in a project has no recipients"),
        ("--server=deno", "'deno' is not one of synkora, node, bun, python-socketio, floor"),
        ("--json=/none/a.json", "'/none/a.json' cannot be written"),
        ("--svg=/", "'/' cannot be written"),
        ("--rounds=0", "'0' is not a number of rounds"),
        ("--rounds=few", "'few' is not a number of rounds"),
        ("--seconds=-1", "'-1' is not a number of seconds"),
        ("--seconds=nan", "'nan' is not a number of seconds"),
        ("--seconds=inf", "'inf' is not a number of seconds"),
    ],
)
def test_wrong_options_are_told(option: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options([option])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
