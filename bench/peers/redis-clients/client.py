"""One client library does one kind of work with Redis for some seconds: client.py LIBRARY WORK URL SECONDS.

It writes the figures of its work as JSON. The libraries are used as their documents advise for this work.
"""

import asyncio
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

import uvloop

BATCH = 20  # commands in one turn of the event loop
CHANNELS = 100
MESSAGE = b"x" * 200
COUNTED = "redis-clients:number"  # the key that holds the number of the last message
NUMBERS = "redis-clients:numbers"  # the channel of numbered messages


def channel(number: int) -> str:
    """The name of a channel."""
    return f"redis-clients:{number % CHANNELS}"


class Library(Protocol):
    """What is measured of a library."""

    async def open(self, url: str, receive: Callable[[bytes], None], channels: list[str]) -> None:
        """Connect, and subscribe if there are channels."""
        ...

    def publish(self, name: str) -> Awaitable[Any]:
        """One publish by a caller that knows nothing of the others in this turn."""
        ...

    async def settle(self) -> None:
        """Wait until Redis has taken what was published, where that has not been awaited."""
        ...

    async def publish_together(self, names: list[str]) -> None:
        """Many publishes of one caller, in the library's own form of a pipeline."""
        ...

    def get(self, answered: Callable[[Any], None]) -> Awaitable[Any]:
        """Read the number, and call `answered` as early as the library lets one."""
        ...


class Synkora:
    """This project's client."""

    async def open(self, url: str, receive: Callable[[bytes], None], channels: list[str]) -> None:
        link, urls = (importlib.import_module(f"synkora.redis.{name}") for name in ("link", "url"))
        self.link = link.Link(urls.RedisUrl.parse(url))
        for name in channels:
            self.link.subscribe(name.encode(), receive)
        assert await self.link.start(10)

    def publish(self, name: str) -> Awaitable[Any]:
        self.link.publish(name.encode(), MESSAGE)
        return _nothing()

    async def settle(self) -> None:
        await self.link.call("PING")

    async def publish_together(self, names: list[str]) -> None:
        for name in names:
            self.link.publish(name.encode(), MESSAGE)
        await self.settle()

    def get(self, answered: Callable[[Any], None]) -> Awaitable[Any]:
        future: Awaitable[Any] = self.link.call("GET", COUNTED, answered=answered)
        return future


class RedisPy:
    """redis-py's asyncio client, with hiredis; subscriptions have a connection of their own."""

    async def open(self, url: str, receive: Callable[[bytes], None], channels: list[str]) -> None:
        redis = importlib.import_module("redis.asyncio")
        self.redis = redis.Redis.from_url(url, protocol=3)
        await self.redis.ping()
        if channels:
            subscriber = self.redis.pubsub(ignore_subscribe_messages=True)
            await subscriber.subscribe(*channels)
            self.listening = asyncio.create_task(self._listen(subscriber, receive))

    async def _listen(self, subscriber: Any, receive: Callable[[bytes], None]) -> None:
        async for message in subscriber.listen():
            receive(message["data"])

    def publish(self, name: str) -> Awaitable[Any]:
        done: Awaitable[Any] = self.redis.publish(name, MESSAGE)
        return done

    async def settle(self) -> None:
        """Every publish has been awaited."""

    async def publish_together(self, names: list[str]) -> None:
        async with self.redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.publish(name, MESSAGE)
            await pipeline.execute()

    async def get(self, answered: Callable[[Any], None]) -> None:
        answered(await self.redis.get(COUNTED))


class Coredis(RedisPy):
    """coredis, whose commands are called as those of redis-py; subscriptions have a connection of their own."""

    async def open(self, url: str, receive: Callable[[bytes], None], channels: list[str]) -> None:
        coredis = importlib.import_module("coredis")
        self.redis = coredis.Redis.from_url(url)
        await self.redis.__aenter__()
        await self.redis.ping()
        if channels:
            ready = asyncio.Event()
            self.listening = asyncio.create_task(self._iterate(channels, receive, ready))
            await ready.wait()

    async def _iterate(self, channels: list[str], receive: Callable[[bytes], None], ready: asyncio.Event) -> None:
        async with self.redis.pubsub(channels=channels, ignore_subscribe_messages=True) as subscriber:
            ready.set()
            async for message in subscriber:
                receive(message["data"])

    async def publish_together(self, names: list[str]) -> None:
        async with self.redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.publish(name, MESSAGE)


class Glide:
    """valkey-glide: a client in Rust, with one connection for commands and subscriptions."""

    async def open(self, url: str, receive: Callable[[bytes], None], channels: list[str]) -> None:
        self.glide: Any = importlib.import_module("glide")
        glide, address = self.glide, urlsplit(url)
        subscriptions = None
        if channels:
            settings = glide.GlideClientConfiguration
            subscriptions = settings.PubSubSubscriptions(
                channels_and_patterns={settings.PubSubChannelModes.Exact: set(channels)},
                callback=lambda message, _: receive(message.message),
                context=None,
            )
        self.client = await glide.GlideClient.create(
            glide.GlideClientConfiguration(
                [glide.NodeAddress(address.hostname, address.port)], pubsub_subscriptions=subscriptions
            )
        )

    def publish(self, name: str) -> Awaitable[Any]:
        done: Awaitable[Any] = self.client.publish(MESSAGE, name)
        return done

    async def settle(self) -> None:
        """Every publish has been awaited."""

    async def publish_together(self, names: list[str]) -> None:
        batch = self.glide.Batch(is_atomic=False)
        for name in names:
            batch.publish(MESSAGE, name)
        await self.client.exec(batch, raise_on_error=True)

    async def get(self, answered: Callable[[Any], None]) -> None:
        answered(await self.client.get(COUNTED))


LIBRARIES: dict[str, Callable[[], Library]] = {
    "synkora": Synkora,
    "redis-py": RedisPy,
    "coredis": Coredis,
    "valkey-glide": Glide,
}


async def _nothing() -> None:
    """A caller of `Link.publish` has nothing to await."""


def processor_time() -> float:
    """Seconds that this process, with all its threads, has had of a processor."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def scattered(library: Library, url: str, seconds: float) -> dict[str, float]:
    """Twenty callers publish in each turn, each by itself: so do the handlers of events."""
    await library.open(url, lambda _: None, [])
    return await _publish(seconds, lambda names: _gather(library, names))


async def _gather(library: Library, names: list[str]) -> None:
    await asyncio.gather(*(library.publish(name) for name in names))
    await library.settle()


async def together(library: Library, url: str, seconds: float) -> dict[str, float]:
    """One caller publishes twenty messages in each turn, and waits until Redis has them."""
    await library.open(url, lambda _: None, [])
    return await _publish(seconds, library.publish_together)


async def _publish(seconds: float, publish: Callable[[list[str]], Awaitable[None]]) -> dict[str, float]:
    messages, used, until = 0, processor_time(), time.monotonic() + seconds
    began = time.monotonic()
    while time.monotonic() < until:
        await publish([channel(messages + number) for number in range(BATCH)])
        messages += BATCH
    return _figures(messages, time.monotonic() - began, processor_time() - used) | {"turns": messages / BATCH}


async def receive(library: Library, url: str, seconds: float) -> dict[str, float]:
    """Messages arrive on a hundred channels, as fast as another process can send them."""
    came = 0

    def count(_: bytes) -> None:
        nonlocal came
        came += 1

    await library.open(url, count, [channel(number) for number in range(CHANNELS)])
    _tell("ready")
    while not came:
        await asyncio.sleep(0.01)
    before, used, began = came, processor_time(), time.monotonic()
    await asyncio.sleep(seconds)
    return _figures(came - before, time.monotonic() - began, processor_time() - used)


async def order(library: Library, url: str, seconds: float) -> dict[str, float]:
    """Another process counts in Redis, and announces each number; is the number read the last that was announced?"""
    announced = asked = misplaced = 0

    def hear(message: bytes) -> None:
        nonlocal announced
        announced = int(message)

    def answered(reply: Any) -> None:
        nonlocal asked, misplaced
        asked += 1
        misplaced += int(reply) != announced

    await library.open(url, hear, [NUMBERS])
    _tell("ready")
    while not announced:
        await asyncio.sleep(0.01)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await library.get(answered)
    return {"replies": asked, "misplaced": misplaced}


def _figures(messages: int, seconds: float, used: float) -> dict[str, float]:
    return {"messages_per_s": messages / seconds, "cpu_us": used / max(messages, 1) * 1e6}


def _tell(word: str) -> None:
    print(word, flush=True)


WORK = {work.__name__: work for work in (scattered, together, receive, order)}


async def main() -> None:
    """Do the work, and write its figures."""
    library, work, url, seconds = sys.argv[1:]
    _tell(json.dumps(await WORK[work](LIBRARIES[library](), url, float(seconds))))
    os._exit(0)  # how libraries disconnect is not measured


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main())
