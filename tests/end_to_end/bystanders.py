"""Two well-behaved clients in a project, and a third one that is not."""

from tests.end_to_end.raw import RawClient
from tests.support.real_clients import Client
from tests.support.users import PROJECT, User

MALLORY = User("user-mallory", "Mallory")


class Bystanders:
    """Alice and Bob, who work together whatever Mallory does. They get only Mallory's join and leave."""

    def __init__(self, alice: Client, bob: Client) -> None:
        self.alice = alice
        self.bob = bob

    async def see_joining(self, mallory: RawClient) -> None:
        await mallory.join(PROJECT)
        for client in (self.alice, self.bob):
            await client.expect("user:joined")
            await client.expect("users:count")

    async def notice_nothing(self) -> None:
        """Fail unless both are still connected, have received nothing, and get each other's work."""
        for sender, receiver in ((self.alice, self.bob), (self.bob, self.alice)):
            await sender.emit("canvas:update", {"projectId": PROJECT, "changes": {"pixels": b"\x00\xff", "n": 1}})
            assert await receiver.next() == ["canvas:update", {"pixels": b"\x00\xff", "n": 1}]
            assert not sender.changes.untaken

    async def notice_the_end_of(self, mallory: RawClient) -> None:
        """Fail unless Mallory's connection ends, and both get the leave and nothing else."""
        await mallory.is_closed()
        await self.notice_the_leave()

    async def notice_the_leave(self) -> None:
        """Fail unless both get Mallory's leave and nothing else."""
        for client in (self.alice, self.bob):
            for event in ("user:left", "users:active", "users:count"):
                await client.expect(event)
        await self.notice_nothing()
