"""A publisher and a consumer of rstream.

usage: rabbitstream.py ADDRESS PASSWORD SAID
The clients note each command with its stream and its result.
"""
import asyncio
import sys

from rstream import client, constants, exceptions, schema

SAID = []


def said(*words):
    SAID.append("\t".join(map(str, words)))


async def do(name, stream, command, result="OK"):
    """Awaits a command, and notes its result: the name of the error, or what the command returned."""
    try:
        value = await command
        if value is not None:
            result = value
    except exceptions.ServerError as e:
        result = type(e).__name__
    said(name, stream, result)


async def connect(address, password):
    c = client.Client(address, 5552, frame_max=1 << 20, heartbeat=60, connection_name="samples")
    await c.start()
    try:
        await c.authenticate("/", "shop", password)
        said("SaslAuthenticate", "", "OK")
    except exceptions.ServerError as e:
        said("SaslAuthenticate", "", type(e).__name__)
    return c


async def publish(c):
    await do("Create", "orders", c.create_stream("orders", {"max-age": "1h"}))
    await do("Create", "orders", c.create_stream("orders", {"max-age": "1h"}))
    await do("DeclarePublisher", "orders", c.declare_publisher("orders", "till", 1))
    await do("DeclarePublisher", "none", c.declare_publisher("none", "till", 2))
    confirmed = asyncio.Queue()
    c.add_handler(schema.PublishConfirm, lambda f: [confirmed.put_nowait(n) for n in f.publishing_ids], name="1")
    number = 0
    for size, length in ((1, 10), (20, 100), (5, 16000)):
        await c.publish([schema.Message(number + i, None, b"%d " % i * (length // 2)) for i in range(size)], 1)
        number += size
        for _ in range(size):
            await asyncio.wait_for(confirmed.get(), 20)
        said("Publish", "orders", size)
    await do("QueryPublisherSequence", "orders", c.query_publisher_sequence("orders", "till"))
    await c.publish([schema.Message(0, None, b"nobody")], 9)
    await asyncio.sleep(0.3)
    said("Publish", "", "PublisherDoesNotExist")
    await do("DeletePublisher", "orders", c.delete_publisher(1))


async def consume(c):
    await do("QueryOffset", "orders", c.query_offset("orders", "billing"))
    await do("StoreOffset", "orders", c.store_offset("orders", "billing", 7), 7)
    await do("QueryOffset", "orders", c.query_offset("orders", "billing"))
    frames = asyncio.Queue()
    c.add_handler(schema.Deliver, frames.put, name="3")
    await c.run_queue_listener_task(3, frames.put)
    await do("Subscribe", "orders", c.subscribe("orders", 3, schema.OffsetSpecOffset(constants.OffsetType.OFFSET, 0), 1))
    await do("Subscribe", "none", c.subscribe("none", 4))
    seen = 0
    while seen < 26:
        chunk = await asyncio.wait_for(frames.get(), 20)
        said("Deliver", "orders", chunk.num_records)
        seen += chunk.num_records
        await do("Credit", "orders", c.credit(3, 1), 1)
    await do("Unsubscribe", "orders", c.unsubscribe(3))


async def main(address, password, file):
    c = await connect(address, password)
    await publish(c)
    await consume(c)
    await do("Delete", "orders", c.delete_stream("orders"))
    await do("Delete", "orders", c.delete_stream("orders"))
    await c.close()
    await connect(address, "wrong")
    with open(file, "w") as f:
        f.write("# command\tstream\tresult\n" + "\n".join(SAID) + "\n")


asyncio.run(main(*sys.argv[1:]))
