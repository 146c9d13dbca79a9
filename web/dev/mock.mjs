// A stand-in for the server, for work on the page alone: the same addresses and shapes, invented shop traffic.
//   node dev/mock.mjs [--port=8080] [--items=120] [--rate=8] [--sales=0] [--prices=0] [--token=secret]
// It serves dist/ under the policy that the real server sends. POST /mock/down?ms=… closes every socket and refuses new
// ones for a while, with &slot=true it tells them when to come back; POST /mock/gap reports a gap on every feed, POST
// /mock/forget gives up what was kept for clients that come back, POST /mock/silent?is=true|false is the canary's word.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { WebSocketServer } from "ws";

const options = Object.fromEntries(process.argv.slice(2).map((arg) => arg.replace(/^--/, "").split("=")));
const port = Number(options.port ?? 8080);
const itemCount = Number(options.items ?? 120);
const rate = Number(options.rate ?? 8);
/** Sales alone, and changes of prices alone, a second: for measurements. */
const sales = Number(options.sales ?? 0);
const repricings = Number(options.prices ?? 0);
const token = options.token ?? "";
const dist = fileURLToPath(new URL("../dist/", import.meta.url));

const POLICY =
  "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; style-src 'self'; object-src 'none'; base-uri 'none'; " +
  "form-action 'self'; frame-ancestors 'none'";
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const GOODS = {
  tea: ["Sencha 100 g", "Gyokuro 50 g", "Hojicha 200 g", "Genmaicha 150 g", "抹茶 宇治 40g", "玄米茶 ティーバッグ"],
  kitchen: ["Cast iron kettle", "Bamboo whisk", "急須 常滑焼", "Porcelain cup, set of 5", "Walnut tray", "土鍋 二合炊き"],
  stationery: ["Fountain pen, fine", "Dot grid notebook A5", "和紙 便箋", "Brass ruler 15 cm", "Mechanical pencil 0.3"],
  textile: ["Linen apron", "手ぬぐい 麻の葉", "Indigo scarf", "Wool blanket", "Cotton tote"],
};

const items = new Map();
const prices = new Map();
let nextId = 1;
const iso = () => new Date().toISOString().replace("Z", "412Z");
const pick = (list) => list[Math.floor(Math.random() * list.length)];
/** One channel a feed is enough here: its clients, and what they can come back for. */
const feeds = new Map(
  ["/ws", "/ws/inventory", "/ws/price", "/ws/progress", "/ws/match"].map((path, index) => [
    path,
    { channel: `mock${path}`, epoch: `mock${index}`, offset: 0, history: [], sockets: new Set() },
  ]),
);
const HISTORY = 1000;
let downUntil = 0;

function send(path, message) {
  const feed = feeds.get(path);
  feed.offset += 1;
  const text = JSON.stringify({ ...message, _position: { channel: feed.channel, epoch: feed.epoch, offset: feed.offset } });
  feed.history.push(text);
  if (feed.history.length > HISTORY) feed.history.shift();
  for (const socket of feed.sockets) if (passes(socket, message)) socket.send(text);
}

/** Whether a client that asked for some SKUs gets a message. */
function passes(socket, message) {
  return !socket.skus || socket.skus.has(message.sku);
}

/** The server's own word, to everybody. */
function notify(message) {
  for (const feed of feeds.values()) {
    const since = `${feed.epoch}:${feed.offset}`;
    for (const socket of feed.sockets) socket.send(JSON.stringify({ channel: feed.channel, since, ...message }));
  }
}

const rowsOf = {
  "/ws/inventory": () =>
    [...items.values()].map(derived).map(({ id, sku, name, category, stock_quantity, available_quantity, is_low_stock, updated_at }) => ({
      item_id: id, sku, name, category, stock_quantity, available_quantity, is_low_stock, timestamp: updated_at,
    })),
  "/ws/price": () =>
    [...prices.values()].map(({ inventory_id, sku, selling_price, currency, updated_at }) => ({ inventory_id, sku, new_price: selling_price, currency, timestamp: updated_at })),
};

/** Where a client begins: behind what it has seen, or with the rows. */
function begin(socket, path, query) {
  const { channel, epoch, offset, history, sockets } = feeds.get(path);
  const say = (message) => socket.send(JSON.stringify(message));
  const [seenEpoch, seen] = (query.get("since") ?? "").split(":");
  const resumes = query.has("since");
  const reaches = seenEpoch === epoch && Number(seen) <= offset && Number(seen) >= offset - history.length;
  const missed = resumes && reaches ? history.slice(history.length - (offset - Number(seen))) : [];
  const gap = resumes && !reaches;
  const here = `${epoch}:${offset}`;
  say({ message_type: "subscribed", feed: path, client: "1", since: missed.length > 0 ? query.get("since") : here, channels: { [channel]: { epoch, offset, recovered: missed.length, gap } } });
  if (gap) say({ message_type: "gap", channel, reason: "history too short", since: here });
  if ((query.has("snapshot") || gap) && rowsOf[path]) {
    const rows = rowsOf[path]().filter((row) => !query.has("sku") || query.get("sku").split(",").includes(row.sku));
    for (let at = 0; at === 0 || at < rows.length; at += 500) {
      say({ message_type: "snapshot", rows: rows.slice(at, at + 500), last: at + 500 >= rows.length, since: here });
    }
  }
  socket.skus = query.has("sku") ? new Set(query.get("sku").split(",")) : null;
  for (const text of missed) if (!socket.skus || passes(socket, JSON.parse(text))) socket.send(text);
  sockets.add(socket);
  socket.on("close", () => sockets.delete(socket));
  socket.on("error", () => {});
  socket.on("message", () => say({ type: "pong" }));
}

function derived(item) {
  const available_quantity = Math.max(0, item.stock_quantity - item.reserved_quantity);
  return { ...item, available_quantity, is_low_stock: available_quantity <= item.min_stock_level };
}

function announce(item, action) {
  const row = derived(item);
  send("/ws/inventory", {
    message_type: "inventory_update",
    action,
    item_id: row.id,
    sku: row.sku,
    name: row.name,
    stock_quantity: row.stock_quantity,
    available_quantity: row.available_quantity,
    is_low_stock: row.is_low_stock,
    timestamp: row.updated_at,
  });
  if (row.is_low_stock && action !== "deleted") {
    send("/ws/inventory", {
      message_type: "stock_alert",
      alert_level: row.available_quantity === 0 ? "out" : "low",
      item_id: row.id,
      sku: row.sku,
      current_stock: row.stock_quantity,
      min_level: row.min_stock_level,
      timestamp: row.updated_at,
    });
  }
}

function create(fields) {
  const now = iso();
  const item = {
    description: null, category: null, stock_quantity: 0, reserved_quantity: 0, weight: null, dimensions: null, cost_price: "0.00",
    min_stock_level: 10, max_stock_level: 1000, is_active: true, is_trackable: true, ...fields, id: nextId++, created_at: now, updated_at: now,
  };
  items.set(item.id, item);
  announce(item, "created");
  return item;
}

function adjust(item, delta) {
  item.stock_quantity += delta;
  item.updated_at = iso();
  announce(item, "updated");
}

for (let i = 0; i < itemCount; i += 1) {
  const category = pick(Object.keys(GOODS));
  const item = create({
    sku: `${category.slice(0, 3).toUpperCase()}-${String(1001 + i)}`,
    name: pick(GOODS[category]),
    category,
    stock_quantity: Math.random() < 0.04 ? 0 : Math.floor(Math.random() ** 2 * 160) + 3,
    reserved_quantity: Math.random() < 0.2 ? 2 : 0,
    min_stock_level: pick([5, 8, 10, 20]),
  });
  item.updated_at = new Date(Date.now() - Math.random() * 7_200_000).toISOString();
  const selling = 400 + Math.floor(Math.random() * 90) * 100;
  prices.set(item.id, {
    id: i + 1, inventory_id: item.id, sku: item.sku, name: item.name, selling_price: `${selling}.00`, cost_price: `${Math.round(selling * 0.6)}.00`,
    discount_price: i % 11 === 0 ? `${Math.round(selling * 0.9)}.00` : null, currency: "JPY", margin_percent: "40.00", markup_percent: "66.67",
    is_active: true, requires_approval: i % 17 === 3, updated_at: item.updated_at,
  });
}

function problem(response, status, detail, errors) {
  response.writeHead(status, { "content-type": "application/problem+json", ...(status === 401 ? { "www-authenticate": "Bearer" } : {}) });
  response.end(JSON.stringify({ type: "about:blank", title: detail, status, detail, ...(errors ? { errors } : {}) }));
}

function json(response, status, body) {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

/** A list as its query narrows and sorts it. */
function page(response, query, all) {
  let list = all;
  if (query.get("low_stock") === "true") list = list.filter((row) => row.is_low_stock);
  if (query.has("out_of_stock")) list = list.filter((row) => String(row.available_quantity === 0) === query.get("out_of_stock"));
  if (query.get("pending") === "true") list = list.filter((row) => row.requires_approval && row.pending_price);
  if (query.has("active")) list = list.filter((row) => String(row.is_active) === query.get("active"));
  const by = query.get("sort_by");
  if (by === "updated_at" || by === "available_quantity") list = [...list].sort((a, b) => (a[by] < b[by] ? -1 : a[by] > b[by] ? 1 : 0));
  if (query.get("sort_order") === "desc") list.reverse();
  const at = Number(query.get("page") ?? 1);
  const limit = Number(query.get("limit") ?? 50);
  const fields = query.get("fields")?.split(",");
  const some = (row) => (fields ? Object.fromEntries(fields.map((name) => [name, row[name]])) : row);
  const total_pages = Math.max(1, Math.ceil(list.length / limit));
  json(response, 200, {
    items: list.slice((at - 1) * limit, at * limit).map(some),
    pagination: { page: at, limit, total_items: list.length, total_pages, has_next: at < total_pages, has_prev: at > 1 },
  });
}

async function bodyOf(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return JSON.parse(text || "{}");
}

const allowed = (request, query) => !token || request.headers.authorization === `Bearer ${token}` || query.get("token") === token;

const server = createServer(async (request, response) => {
  const url = new URL(request.url, "http://localhost");
  const route = `${request.method} ${url.pathname}`;
  if (route === "POST /mock/down") {
    const ms = Number(url.searchParams.get("ms") ?? 5000);
    const slot = url.searchParams.has("slot");
    downUntil = Date.now() + ms;
    if (slot) notify({ message_type: "reconnect", after_ms: ms + 100 });
    for (const { sockets } of feeds.values()) for (const socket of sockets) socket.close(1012, slot ? `service restart; after_ms=${ms + 100}` : "service restart");
    return json(response, 200, {});
  }
  if (route === "POST /mock/gap") {
    notify({ message_type: "gap", reason: "lagged" });
    return json(response, 200, {});
  }
  if (route === "POST /mock/forget") {
    for (const feed of feeds.values()) Object.assign(feed, { epoch: `${feed.epoch}x`, offset: 0, history: [] });
    return json(response, 200, {});
  }
  if (route === "POST /mock/silent") {
    notify(url.searchParams.get("is") === "true" ? { message_type: "stale", silent_ms: 2_000 } : { message_type: "live", silent_ms: 5_000 });
    return json(response, 200, {});
  }
  if (route === "POST /mock/say") {
    send("/ws", await bodyOf(request));
    return json(response, 200, {});
  }
  if (url.pathname.startsWith("/api/")) {
    if (!allowed(request, url.searchParams)) return problem(response, 401, "a token is needed");
    if (Date.now() < downUntil) return problem(response, 503, "down");
    if (route === "GET /api/v1/auth/me") return json(response, 200, { subject: token ? "me" : "anonymous", role: "admin" });
    if (url.pathname.startsWith("/api/v1/series/")) return json(response, 200, { points: [] });
    if (route === "GET /api/v1/inventory") return page(response, url.searchParams, [...items.values()].map(derived));
    if (route === "GET /api/v1/prices") return page(response, url.searchParams, [...prices.values()]);
    if (route === "POST /api/v1/inventory") return json(response, 201, derived(create(await bodyOf(request))));
    const match = /^\/api\/v1\/inventory\/(\d+)(\/adjust)?$/.exec(url.pathname);
    const item = match && items.get(Number(match[1]));
    if (!item) return problem(response, 404, "no such item");
    if (request.method === "POST" && match[2]) {
      const { delta } = await bodyOf(request);
      if (/^[A-Z]{3}-\d+3$/.test(item.sku)) return problem(response, 422, "the stock cannot change", [{ field: "delta", message: "this item is being counted" }]);
      if (item.stock_quantity + delta < 0) return problem(response, 409, `only ${item.stock_quantity} left`);
      adjust(item, delta);
      return json(response, 200, derived(item));
    }
    if (request.method === "GET" && !match[2]) return json(response, 200, derived(item));
    if (request.method === "DELETE") {
      items.delete(item.id);
      item.updated_at = iso();
      announce(item, "deleted");
      return response.writeHead(204).end();
    }
    return problem(response, 405, "not allowed");
  }
  const path = normalize(extname(url.pathname) === "" ? "/index.html" : url.pathname);
  try {
    const file = await readFile(join(dist, path));
    response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream", "content-security-policy": POLICY });
    response.end(file);
  } catch {
    problem(response, 404, "no such page");
  }
});

const upgrades = new WebSocketServer({ noServer: true });
server.on("upgrade", (request, stream, head) => {
  const url = new URL(request.url, "http://localhost");
  if (!feeds.has(url.pathname) || !allowed(request, url.searchParams) || Date.now() < downUntil) {
    stream.end("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n");
    return;
  }
  upgrades.handleUpgrade(request, stream, head, (socket) => begin(socket, url.pathname, url.searchParams));
});

function changePrice(price = pick([...prices.values()])) {
  if (!price) return;
  const old = Number(price.selling_price);
  const percent = (Math.random() - 0.48) * (Math.random() < 0.1 ? 60 : 8);
  const fresh = Math.max(50, Math.round((old * (1 + percent / 100)) / 10) * 10);
  price.selling_price = `${fresh}.00`;
  price.updated_at = iso();
  const fields = {
    inventory_id: price.inventory_id, sku: price.sku, old_price: `${old}.00`, new_price: price.selling_price, price_change_amount: `${fresh - old}.00`,
    price_change_percent: (((fresh - old) / old) * 100).toFixed(2), currency: price.currency, timestamp: price.updated_at,
  };
  send("/ws/price", { message_type: "price_update", action: "updated", ...fields });
  if (Math.abs(percent) > 15) send("/ws/price", { message_type: "price_alert", alert_type: percent > 25 ? "approval_required" : "large_change", ...fields });
}

function sell() {
  const item = pick([...items.values()]);
  if (!item) return;
  const delta = item.stock_quantity < 5 && Math.random() < 0.5 ? 40 : -Math.ceil(Math.random() * 3);
  adjust(item, Math.max(-item.stock_quantity, delta));
}

const STUDENTS = ["佐藤 葵", "鈴木 蓮", "Mia Larsen", "高橋 陽菜", "Noah Weber", "田中 湊"];
function learn() {
  const hasError = Math.random() < 0.2;
  const help = Math.random() < 0.08;
  send("/ws/progress", {
    eventId: crypto.randomUUID(), eventType: help ? "help" : "cell_executed", eventTime: iso(), userId: "u", userName: pick(STUDENTS), notebookPath: "week3/pandas.ipynb",
    ...(help ? {} : { cellIndex: Math.floor(Math.random() * 20), hasError, errorMessage: hasError ? "NameError: name 'df' is not defined" : null }),
  });
}

const run = { batch_id: "b-1", batch_type: "daily_matching", state: "running", processed: 0, total: 4200, failed: 0 };
function matchStep() {
  if (run.processed >= run.total) Object.assign(run, { batch_id: `b-${Date.now()}`, processed: 0, failed: 0, state: "running" });
  run.processed = Math.min(run.total, run.processed + 70);
  if (Math.random() < 0.05) run.failed += 1;
  if (run.processed === run.total) run.state = "completed";
  send("/ws/match", { message_type: "batch_progress", ...run, timestamp: iso() });
  if (Math.random() < 0.4) {
    const matches = Array.from({ length: 1 + Math.floor(Math.random() * 8) }, () => ({ title: pick(["ホールスタッフ", "Warehouse lead", "フロントエンドエンジニア", "Barista"]), company_name: pick(["青山珈琲", "Kanda Logistics", "みなと商店"]) }));
    send("/ws/match", { message_type: "match_notification", user_id: pick(STUDENTS), matches, timestamp: iso() });
  }
}

/** Does something so many times a second, however late the timer is. */
function often(perSecond, act) {
  let due = 0;
  let last = Date.now();
  setInterval(() => {
    const now = Date.now();
    due += (perSecond * (now - last)) / 1000;
    last = now;
    for (; due >= 1; due -= 1) act();
  }, 10);
}

if (sales > 0) {
  const list = [...items.values()];
  often(sales, () => {
    const item = pick(list);
    adjust(item, item.stock_quantity < 12 ? 40 : -1);
  });
}

if (repricings > 0) {
  const list = [...prices.values()];
  often(repricings, () => changePrice(pick(list)));
}

if (rate > 0) {
  let due = 0;
  setInterval(() => {
    due += rate / 50;
    for (; due >= 1; due -= 1) Math.random() < 0.75 ? sell() : changePrice();
  }, 20);
  setInterval(learn, 1500);
  setInterval(matchStep, 900);
}

server.listen(port, "127.0.0.1", () => console.log(`mock server on http://127.0.0.1:${server.address().port}`));
