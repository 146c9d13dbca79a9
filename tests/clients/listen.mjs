// The loop that users' pages run: connect, parse JSON, and on close try again after 5 s, five times.
// Prints one JSON line an event.
//
//     node listen.mjs ws://127.0.0.1:8000/ws/inventory --count 3 --timeout 10 --retry-ms 5000
import { parseArgs } from 'node:util';
import WebSocket from 'ws'; // Node 20 has none of its own

const MAX_RETRIES = 5;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    count: { type: 'string' }, // stop after so many messages
    timeout: { type: 'string' }, // give up after so many seconds
    'retry-ms': { type: 'string', default: '5000' },
  },
});
const [url] = positionals;
if (!url) {
  console.error('usage: node listen.mjs URL [--count N] [--timeout SECONDS] [--retry-ms MS]');
  process.exit(2);
}

const count = Number(values.count ?? Infinity);
const retryMs = Number(values['retry-ms']);
let retries = 0;
let received = 0;

function show(event, fields = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

function connect() {
  const socket = new WebSocket(url);
  socket.onopen = () => {
    retries = 0;
    show('open');
  };
  socket.onmessage = ({ data: text }) => {
    const data = JSON.parse(text);
    switch (data.message_type) {
      case 'inventory_update':
      case 'stock_alert':
      case 'price_update':
      case 'price_alert':
        show('message', { message_type: data.message_type, note: data.sku, data, text });
        break;
      default:
        show('message', { message_type: data.message_type, note: 'other', data, text });
    }
    received += 1;
    if (received >= count) process.exit(0);
  };
  // An error is always followed by a close, so the close alone decides.
  socket.onerror = () => {};
  socket.onclose = ({ code, reason }) => {
    show('close', { code, reason });
    if (retries === MAX_RETRIES) process.exit(1);
    retries += 1;
    setTimeout(connect, retryMs);
  };
}

if (values.timeout) {
  setTimeout(() => {
    show('timeout');
    process.exit(1);
  }, Number(values.timeout) * 1000);
}
connect();
