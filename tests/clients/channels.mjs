// An official `centrifuge` client that does what it is told on its input and tells what happens on its output, a JSON
// object a line each: {"call":"subscribe","channel":"news"} is answered by {"answer":…} or {"error":…}.
import { createHash, createHmac } from 'node:crypto';
import { createInterface } from 'node:readline';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';
import { Centrifuge as Json } from 'centrifuge';
import { Centrifuge as Protobuf } from 'centrifuge/build/protobuf';

const [, , url, ...flags] = process.argv;
const protobuf = flags.includes('--protobuf');
const transport = flags.find((flag) => flag.startsWith('--transport='))?.split('=')[1];
const http = url.replace(/^ws/, 'http').replace(/\/connection\/.*/, '');
const endpoints = transport ? [{ transport, endpoint: `${http}/connection/${transport}` }] : url;
const parts = { websocket: WebSocket, fetch, readableStream: ReadableStream, eventsource: EventSource, emulationEndpoint: `${http}/emulation` };
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const out = (data) => (protobuf && data !== undefined ? encoder.encode(JSON.stringify(data)) : data);
const back = (data) => (data instanceof Uint8Array ? (data.length ? JSON.parse(decoder.decode(data)) : undefined) : data);
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const told = (one) => ({ data: back(one.data), offset: one.offset, tags: one.tags, info: shown(one.info), channel: one.channel });
const shown = (info) => info && { user: info.user, client: info.client, connInfo: back(info.connInfo), chanInfo: back(info.chanInfo) };

// What a back end makes that lets a user track keys: until then, of this channel, in this order.
const sign = ({ secret, user, channel, ttl }, keys) => {
  const issued = Math.floor(Date.now() / 1000);
  const ends = ttl ? issued + ttl : 0;
  const hash = createHash('sha256').update(keys.join('\0')).digest('hex');
  const hmac = createHmac('sha256', secret).update([issued, ends, user, channel, hash].join('\0')).digest('hex');
  return `${issued}:${ends}:${hmac}`;
};

let client;
const subs = new Map();
const tokens = [];
const next = () => {
  say({ event: 'token wanted' });
  return Promise.resolve(tokens.shift() ?? '');
};

const calls = {
  connect({ token, refresh, options }) {
    const getToken = refresh ? next : undefined;
    client = new (protobuf ? Protobuf : Json)(endpoints, { ...parts, token, getToken, minReconnectDelay: 50, maxReconnectDelay: 200, ...options });
    for (const event of ['connected', 'connecting', 'disconnected', 'error']) {
      client.on(event, ({ code, reason, client: name, transport, error }) => say({ event, code, reason, client: name, transport, error: error?.code }));
    }
    for (const event of ['publication', 'join', 'leave', 'subscribed', 'subscribing', 'unsubscribed']) {
      client.on(event, (context) => say({ event: `server ${event}`, channel: context.channel, recovered: context.recovered, ...(event === 'publication' ? told(context) : {}) }));
    }
    client.connect();
  },
  async subscribe({ channel, options, refresh }) {
    const known = subs.get(channel);
    const sub = known ?? client.newSubscription(channel, { minResubscribeDelay: 50, maxResubscribeDelay: 200, ...(refresh ? { getToken: next } : {}), ...options });
    if (!known) {
      subs.set(channel, sub);
      sub.on('subscribed', ({ recovered, wasRecovering, positioned, recoverable, streamPosition }) => say({ event: 'subscribed', channel, recovered, wasRecovering, positioned, recoverable, streamPosition }));
      sub.on('subscribing', ({ code, reason }) => say({ event: 'subscribing', channel, code, reason }));
      sub.on('unsubscribed', ({ code, reason }) => say({ event: 'unsubscribed', channel, code, reason }));
      sub.on('error', ({ error }) => say({ event: 'subscription error', channel, code: error.code }));
      sub.on('publication', (context) => say({ event: 'publication', ...told(context), channel }));
      for (const event of ['join', 'leave']) sub.on(event, (context) => say({ event, channel, info: shown(context.info) }));
    }
    sub.subscribe();
  },
  async subscribe_map({ channel, options }) {
    const { mapPresenceType, mapPageSize: pageSize, ...rest } = options ?? {};
    const kind = { 2: 'newMapClientsSubscription', 3: 'newMapUsersSubscription' }[mapPresenceType] ?? 'newMapSubscription';
    const sub = subs.get(channel) ?? client[kind](channel, { minResubscribeDelay: 50, maxResubscribeDelay: 200, pageSize, ...rest });
    if (!subs.has(channel)) {
      subs.set(channel, sub);
      const entry = (one) => ({ key: one.key, data: back(one.data), removed: one.removed, offset: one.offset, info: shown(one.info) });
      sub.on('subscribed', ({ recovered, wasRecovering, recoverable }) => say({ event: 'subscribed', channel, recovered, wasRecovering, recoverable }));
      sub.on('sync', ({ entries }) => say({ event: 'sync', channel, entries: entries.map(entry) }));
      sub.on('update', (one) => say({ event: 'update', channel, ...entry(one) }));
      sub.on('subscribing', ({ code, reason }) => say({ event: 'subscribing', channel, code, reason }));
      sub.on('unsubscribed', ({ code, reason }) => say({ event: 'unsubscribed', channel, code, reason }));
    }
    sub.subscribe();
  },
  // `revoked`: keys that are not signed, from the second time on.
  async subscribe_poll({ channel, revoked = [], ...signing }) {
    let times = 0;
    const getSignature = async ({ keys }) => {
      times += 1;
      say({ event: 'signature wanted', channel, keys });
      const signed = times > 1 ? keys.filter((key) => !revoked.includes(key)) : keys;
      return { keys: signed, signature: sign({ channel, ...signing }, signed) };
    };
    const sub = subs.get(channel) ?? client.newSharedPollSubscription(channel, { minResubscribeDelay: 50, maxResubscribeDelay: 200, getSignature });
    if (!subs.has(channel)) {
      subs.set(channel, sub);
      sub.on('subscribed', () => say({ event: 'subscribed', channel }));
      sub.on('update', ({ key, data, removed, version }) => say({ event: 'update', channel, key, data: back(data), removed, version }));
      sub.on('subscribing', ({ code, reason }) => say({ event: 'subscribing', channel, code, reason }));
      sub.on('unsubscribed', ({ code, reason }) => say({ event: 'unsubscribed', channel, code, reason }));
      sub.on('error', ({ type, error }) => say({ event: 'subscription error', channel, type, code: error.code }));
    }
    sub.subscribe();
  },
  async track({ channel, keys }) {
    subs.get(channel).track(keys);
  },
  async untrack({ channel, keys }) {
    subs.get(channel).untrack(keys);
    return [...subs.get(channel).trackedKeys()];
  },
  map_publish: ({ channel, key, data }) => client.mapPublish(channel, key, out(data)),
  map_remove: ({ channel, key }) => client.mapRemove(channel, key),
  async unsubscribe({ channel }) {
    subs.get(channel).unsubscribe();
  },
  publish: ({ channel, data }) => client.publish(channel, out(data)),
  async history({ channel, options }) {
    const { publications, epoch, offset } = await client.history(channel, options);
    return { publications: publications.map(told), epoch, offset };
  },
  async presence({ channel }) {
    const { clients } = await client.presence(channel);
    return Object.fromEntries(Object.entries(clients).map(([name, info]) => [name, shown(info)]));
  },
  presence_stats: ({ channel }) => client.presenceStats(channel),
  rpc: ({ method }) => client.rpc(method, out({})),
  send: () => client.send(out({})),
  async token({ token }) {
    tokens.push(token);
  },
  async disconnect() {
    client.disconnect();
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { call, ...given } = JSON.parse(line);
  try {
    say({ answer: (await calls[call](given)) ?? null });
  } catch (error) {
    say({ error: error.code ?? String(error), message: error.message });
  }
}
process.exit(0);
