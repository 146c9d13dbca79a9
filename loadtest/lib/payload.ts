// What publishers send, and what viewers read back from it.

/** An item with its price, made in `setup`: each belongs to one publisher, so that its changes are in order. */
export interface Target {
  itemId: number | string;
  priceId: number | string;
  sku: string;
}

/** Rises by one with each change; so a stock level or a price is itself a sequence number. */
export const FIRST_STOCK = 1000;
export const FIRST_PRICE = 100000;

/** The category is the run's name, so that one query finds all items of a run. */
export function newItem(run: string, sku: string) {
  return {
    sku,
    name: `Load test ${sku}`,
    category: run,
    stock_quantity: FIRST_STOCK,
    min_stock_level: 0,
    max_stock_level: 1000000,
  };
}

export function newPrice(itemId: Target['itemId']) {
  return { inventory_id: itemId, selling_price: String(FIRST_PRICE), currency: 'JPY' };
}

/** A message of an existing back end, as it would go through Redis, with the stamp in `metadata`. */
export function stampedUpdate(publisher: string, seq: number, padding: string) {
  return {
    message_type: 'inventory_update',
    action: 'updated',
    item_id: 0,
    sku: publisher,
    name: 'Load test',
    stock_quantity: seq,
    available_quantity: seq,
    is_low_stock: false,
    timestamp: new Date().toISOString(),
    metadata: { t0: Date.now(), seq, padding },
  };
}

export function stampedPrice(publisher: string, seq: number) {
  return {
    message_type: 'price_update',
    action: 'updated',
    inventory_id: 0,
    sku: publisher,
    old_price: String(seq - 1),
    new_price: String(seq),
    price_change_amount: '1',
    price_change_percent: '0',
    currency: 'JPY',
    timestamp: new Date().toISOString(),
    metadata: { t0: Date.now(), seq },
  };
}

/** The place of a message in its publisher's numbering. */
export interface Numbered {
  /** What the number counts: the publisher's SKU, and whether the message was stamped. */
  stream: string;
  sku: string;
  seq: number;
  /** When it was sent (stamped) or written (the contract's `timestamp`). */
  sentAtMs: number;
  stamped: boolean;
}

/** Messages of this VU that were read lately: all its sockets get the same text, and parsing it is what costs. */
const read = new Map<string, Numbered | undefined>();
const READ_MESSAGES = 256;

/** Reads a message of ours; `undefined` for everything else on the feed. */
export function numbered(text: string, run: string): Numbered | undefined {
  if (read.has(text)) return read.get(text);
  if (read.size >= READ_MESSAGES) read.clear();
  const message = parse(text, run);
  read.set(text, message);
  return message;
}

function parse(text: string, run: string): Numbered | undefined {
  const message = JSON.parse(text);
  const sku = String(message.sku ?? '');
  if (!sku.startsWith(`${run}-`) || message.action !== 'updated') return undefined;
  if (message.metadata) {
    const { t0, seq } = message.metadata;
    return { stream: `stamped ${sku}`, sku, seq, sentAtMs: t0, stamped: true };
  }
  const sentAtMs = Date.parse(message.timestamp);
  switch (message.message_type) {
    case 'inventory_update':
      return { stream: sku, sku, seq: message.stock_quantity - FIRST_STOCK, sentAtMs, stamped: false };
    case 'price_update':
      return { stream: sku, sku, seq: Number(message.new_price) - FIRST_PRICE, sentAtMs, stamped: false };
    default: // stock_alert and price_alert carry no number
      return undefined;
  }
}
