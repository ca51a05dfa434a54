"""The workers' own Redis, as a real process."""

from pathlib import Path

import pytest

from synkora.app.workers.private_redis import PrivateRedis, PrivateRedisFailed, find_program


async def test_it_answers_on_its_socket_alone(tmp_path: Path) -> None:
    """No other user may open the socket."""
    program = find_program()
    assert program is not None
    redis = PrivateRedis(program, tmp_path)
    process = await redis.start()
    assert redis.url == f"unix://{tmp_path}/redis.sock"
    assert (tmp_path / "redis.sock").stat().st_mode & 0o077 == 0
    redis.kill()
    assert process.returncode == -9
    assert not (tmp_path / "dump.rdb").exists()


async def test_the_reason_of_a_failed_start_is_told(tmp_path: Path) -> None:
    """In the program's own words, if it has written any."""
    program = tmp_path / "redis-server"
    program.write_text(f"#!/bin/sh\necho 'no memory' > {tmp_path}/redis.log; exit 1\n")
    program.chmod(0o755)
    with pytest.raises(PrivateRedisFailed, match="redis-server does not start: no memory"):
        await PrivateRedis(str(program), tmp_path).start()
    program.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(PrivateRedisFailed, match="it says nothing"):
        await PrivateRedis(str(program), tmp_path).start()
