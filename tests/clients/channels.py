"""The same as channels.mjs with the official client for Python."""

import asyncio
import json
import sys

from centrifuge import (
    CentrifugeError, Client, ClientEventHandler, DeltaType, ReplyError, SubscriptionEventHandler, StreamPosition,
)

URL = sys.argv[1]
PROTOBUF = "--protobuf" in sys.argv


def say(**value):
    print(json.dumps(value), flush=True)


def out(data):
    return json.dumps(data).encode() if PROTOBUF else data


def back(data):
    return json.loads(data) if isinstance(data, bytes) else data


def shown(info):
    return info and {"user": info.user, "client": info.client}


def told(publication):
    return {"data": back(publication.data), "offset": publication.offset, "info": shown(publication.info)}


class Events(ClientEventHandler):
    async def on_connected(self, context):
        say(event="connected", client=context.client)

    async def on_connecting(self, context):
        say(event="connecting", code=context.code, reason=context.reason)

    async def on_disconnected(self, context):
        say(event="disconnected", code=context.code, reason=context.reason)

    async def on_error(self, context):
        say(event="error", code=getattr(context, "code", None))

    async def on_subscribed(self, context):
        say(event="server subscribed", channel=context.channel)

    async def on_publication(self, context):
        say(event="server publication", channel=context.channel, **told(context.pub))


class SubscriptionEvents(SubscriptionEventHandler):
    def __init__(self, channel):
        self.channel = channel

    async def on_subscribed(self, context):
        say(event="subscribed", channel=self.channel, recovered=context.recovered,
            wasRecovering=context.was_recovering, recoverable=context.recoverable)

    async def on_subscribing(self, context):
        say(event="subscribing", channel=self.channel, code=context.code)

    async def on_unsubscribed(self, context):
        say(event="unsubscribed", channel=self.channel, code=context.code, reason=context.reason)

    async def on_publication(self, context):
        say(event="publication", channel=self.channel, **told(context.pub))

    async def on_join(self, context):
        say(event="join", channel=self.channel, info=shown(context.info))

    async def on_leave(self, context):
        say(event="leave", channel=self.channel, info=shown(context.info))

    async def on_error(self, context):
        say(event="subscription error", channel=self.channel, code=getattr(context, "code", None))


class Driver:
    def __init__(self):
        self.client = None
        self.subs = {}
        self.tokens = []

    async def token(self, token):
        self.tokens.append(token)

    async def next(self, channel=None):
        say(event="token wanted")
        return self.tokens.pop(0) if self.tokens else ""

    async def connect(self, token="", options=None, refresh=False):
        if refresh:
            options = {**(options or {}), "get_token": self.next}
        self.client = Client(URL, events=Events(), token=token, use_protobuf=PROTOBUF,
                             min_reconnect_delay=0.05, max_reconnect_delay=0.2, **(options or {}))
        await self.client.connect()

    async def subscribe(self, channel, options=None, refresh=False):
        if channel not in self.subs:
            options = options or {}
            if refresh:
                options["get_token"] = self.next
            if "since" in options:
                options["since"] = StreamPosition(**options["since"])
            if "delta" in options:
                options["delta"] = DeltaType(options["delta"])
            self.subs[channel] = self.client.new_subscription(
                channel, events=SubscriptionEvents(channel), min_resubscribe_delay=0.05, **options)
        await self.subs[channel].subscribe()

    async def unsubscribe(self, channel):
        await self.subs[channel].unsubscribe()

    async def publish(self, channel, data):
        await self.subs[channel].publish(out(data))

    async def history(self, channel, options=None):
        result = await self.subs[channel].history(**(options or {}))
        return {"publications": [told(one) for one in result.publications], "epoch": result.epoch,
                "offset": result.offset}

    async def presence(self, channel):
        result = await self.subs[channel].presence()
        return {name: shown(info) for name, info in result.clients.items()}

    async def presence_stats(self, channel):
        result = await self.subs[channel].presence_stats()
        return {"numClients": result.num_clients, "numUsers": result.num_users}

    async def rpc(self, method):
        return back((await self.client.rpc(method, out({}))).data)

    async def disconnect(self):
        await self.client.disconnect()


async def main():
    driver = Driver()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        given = json.loads(line)
        try:
            say(answer=await getattr(driver, given.pop("call"))(**given))
        except ReplyError as error:
            say(error=error.code, message=str(error))
        except CentrifugeError as error:
            say(error=str(type(error).__name__), message=str(error))


asyncio.run(main())
