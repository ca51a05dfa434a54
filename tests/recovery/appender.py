"""A process that appends as fast as possible, and prints the number of each delivered event."""

import asyncio
import os
import sys
from pathlib import Path

from synkora.recovery.embedded import EmbeddedStore
from synkora.recovery.ports import LoggedEvent, new_event


def _tell(event: LoggedEvent) -> None:
    os.write(1, b"%d\n" % event.number)


async def main() -> None:
    store = EmbeddedStore(Path(sys.argv[1]))
    await store.start()
    log = store.log("/", _tell)
    while True:
        for _ in range(50):
            log.append(new_event(b'["edit"]', ("p",)))
        await asyncio.sleep(0)


asyncio.run(main())
