#!/usr/bin/env python3
"""A listener as users write it: connect, receive, switch on message_type. Prints one JSON line an event.

    python listen.py ws://127.0.0.1:8000/ws/inventory --count 3 --timeout 10
    python listen.py ws://127.0.0.1:8000/ws/price --msgpack
"""

import argparse
import asyncio
import json
import sys

import msgpack
import websockets


def show(event, **fields):
    print(json.dumps({"event": event, **fields}, ensure_ascii=False), flush=True)


def handle(message):
    """Text comes as str (JSON), MessagePack as bytes; `text` keeps what the wire held, to the byte."""
    if isinstance(message, str):
        data, text = json.loads(message), message
    else:
        data, text = msgpack.unpackb(message), None
    match data.get("message_type"):
        case "inventory_update":
            note = f"{data.get('sku')}: {data.get('stock_quantity')} in stock"
        case "stock_alert":
            note = f"{data.get('sku')} is {data.get('alert_level')}"
        case "price_update" | "price_alert":
            note = f"{data.get('sku')}: {data.get('old_price')} -> {data.get('new_price')}"
        case other:
            note = str(other)
    show("message", message_type=data.get("message_type"), note=note, data=data, text=text)


async def listen(options):
    subprotocols = ["fanfare.msgpack"] if options.msgpack else None
    async with websockets.connect(options.url, subprotocols=subprotocols) as socket:
        show("open", subprotocol=socket.subprotocol)
        received = 0
        async for message in socket:
            handle(message)
            received += 1
            if received == options.count:
                return 0
    # The loop above ends by itself when the server closes in good order.
    show("close", code=socket.close_code, reason=socket.close_reason)
    return 0 if options.count is None else 1


async def main():
    parser = argparse.ArgumentParser(description="Prints what a Fanfare endpoint sends.")
    parser.add_argument("url")
    parser.add_argument("--count", type=int, help="stop after so many messages")
    parser.add_argument("--timeout", type=float, help="give up after so many seconds")
    parser.add_argument("--msgpack", action="store_true", help="ask for MessagePack by subprotocol")
    options = parser.parse_args()
    try:
        return await asyncio.wait_for(listen(options), options.timeout)
    except TimeoutError:
        show("timeout")
    except websockets.ConnectionClosed as closed:
        close = closed.rcvd or closed.sent
        show("close", code=close.code if close else 1006, reason=close.reason if close else "")
    except (OSError, websockets.WebSocketException) as error:
        show("error", reason=str(error))
    return 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
