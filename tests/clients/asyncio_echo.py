"""A client of an echo server on Python's asyncio: streams, drain, and the end of a stream.

usage: asyncio_echo.py HOST PORT CONNECTIONS BYTES

Each connection sends its own text in pieces while it reads, checks that every byte is echoed in
order, ends its writing side, and waits for the end of the stream. Prints "ok" and the number of bytes
that were echoed.
"""

import asyncio
import sys


async def send(writer, text):
    for start in range(0, len(text), 777):
        writer.write(text[start : start + 777])
        await writer.drain()
    writer.write_eof()


async def talk(number, host, port, size):
    text = b"".join(b"%d:%d;" % (number, n) for n in range(size // 4))[:size]
    reader, writer = await asyncio.open_connection(host, port)
    sending = asyncio.create_task(send(writer, text))
    echo = await reader.readexactly(size)
    assert echo == text, "wrong bytes"
    await sending
    assert await reader.read() == b"", "more than was sent"
    writer.close()
    await writer.wait_closed()
    return size


async def main():
    host, port, count, size = sys.argv[1], *map(int, sys.argv[2:])
    talks = (talk(number, host, port, size) for number in range(count))
    total = sum(await asyncio.wait_for(asyncio.gather(*talks), 100))
    print("ok", total)


asyncio.run(main())
