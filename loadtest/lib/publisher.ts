// A publisher: changes its own item and price through the public API, and publishes stamped messages as a
// trusted back end does. Nothing here waits for a delivery.
import { check, fail } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';
import { BASE_URL, HEADERS } from './config.ts';
import { FIRST_PRICE, FIRST_STOCK, newItem, newPrice, stampedPrice, stampedUpdate, type Target } from './payload.ts';

function send(method: string, path: string, name: string, body?: object) {
  const text = body === undefined ? null : JSON.stringify(body);
  return http.request(method, `${BASE_URL}${path}`, text, { headers: HEADERS, tags: { name } });
}

/** Makes one item and one price for each publisher that may run. */
export function makeTargets(run: string, count: number): Target[] {
  const targets: Target[] = [];
  for (let i = 1; i <= count; i++) {
    const sku = `${run}-${i}`;
    const item = send('POST', '/api/v1/inventory', 'create item', newItem(run, sku));
    if (item.status !== 201) fail(`cannot create an item: ${item.status} ${item.body}`);
    const itemId = item.json('id') as Target['itemId'];
    const price = send('POST', '/api/v1/prices', 'create price', newPrice(itemId));
    if (price.status !== 201) fail(`cannot create a price: ${price.status} ${price.body}`);
    targets.push({ itemId, priceId: price.json('id') as Target['priceId'], sku });
  }
  return targets;
}

/** Items take their prices with them. */
export function removeTargets(targets: Target[]) {
  for (const { itemId } of targets) send('DELETE', `/api/v1/inventory/${itemId}`, 'delete item');
}

/** The number of the last round of each publisher, by SKU, as the server's own rows have it. */
export function written(run: string): Map<string, number> {
  const list = send('GET', `/api/v1/inventory?category=${run}&limit=1000`, 'list items');
  if (!check(list, { 'items listed': (r) => r.status === 200 })) return new Map();
  const items = list.json('items') as unknown as { sku: string; stock_quantity: number }[];
  return new Map(items.map((item) => [item.sku, item.stock_quantity - FIRST_STOCK]));
}

/** The number of this VU's last round. A VU runs one round at a time, so its numbers are in order. */
let seq = 0;

/** One round: a stock change, a price change, and a stamped message on either feed. */
export function publish(targets: Target[], padding = '') {
  const target = targets[exec.vu.idInTest - 1];
  if (target === undefined) fail(`no item for VU ${exec.vu.idInTest}`);
  seq += 1;
  const { itemId, priceId, sku } = target;

  expect(send('POST', `/api/v1/inventory/${itemId}/adjust`, 'adjust stock', { delta: 1 }), 'stock adjusted');
  expect(
    send('PATCH', `/api/v1/prices/${priceId}`, 'change price', { selling_price: String(FIRST_PRICE + seq) }),
    'price changed',
  );
  expect(
    send('POST', '/api/publish', 'publish', { channel: 'inventory:updates', data: stampedUpdate(sku, seq, padding) }),
    'stock message published',
  );
  expect(
    send('POST', '/api/publish', 'publish', { channel: 'price:updates', data: stampedPrice(sku, seq) }),
    'price message published',
  );
}

function expect(response: { status: number }, what: string) {
  check(response, { [what]: (r) => r.status >= 200 && r.status < 300 });
}
