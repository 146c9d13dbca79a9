import type { Item, Operations, Pagination, Price, Problem, Tokens } from "./contract/api";
import type { Id } from "./stream/messages";

/** What an operation of the API answers, by the contract. */
export type Answer<Name extends keyof Operations> = Operations[Name]["answer"];

const TOKEN_KEY = "fanfare.token";

const ITEM_FIELDS = [
  "id", "sku", "name", "category", "stock_quantity", "reserved_quantity", "available_quantity", "is_low_stock", "min_stock_level", "is_active", "updated_at",
] as const;

/** What the page reads of an item. */
export type ItemRecord = Pick<Item, (typeof ITEM_FIELDS)[number]>;

/** What the page reads of a price. */
export type PriceRecord = Pick<
  Price,
  "id" | "inventory_id" | "sku" | "name" | "selling_price" | "cost_price" | "discount_price" | "currency" | "margin_percent" | "is_active" | "requires_approval" | "pending_price" | "updated_at"
>;

interface Page<T> {
  items: T[];
  pagination: Pagination;
}

/** An answer that is not a success, with the words the server gave. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    /** What the server said, which need not be a problem. */
    readonly problem: Partial<Problem>,
    readonly retryAfterMs: number | null = null,
  ) {
    const fields = (problem.errors ?? []).map((e) => [e.field, e.message].filter(Boolean).join(": ")).filter(Boolean);
    super(fields.join("; ") || problem.detail || problem.title || `HTTP ${status}`);
    this.name = "ApiError";
  }
}

/** The caller's token, from a log-in or from the address's fragment, which no server sees. It lives as long as the tab. */
class Token {
  #value: string | null = null;
  #refresh: string | null = null;
  #expiresAtMs = Infinity;
  #tabs: BroadcastChannel | null = null;

  get value(): string | null {
    return this.#value;
  }

  get refresh(): string | null {
    return this.#refresh;
  }

  get expiresAtMs(): number {
    return this.#expiresAtMs;
  }

  /** Takes `#token=…` out of the address bar, so that it is in no bookmark and no screenshot. */
  takeFromAddress(): boolean {
    const found = new URLSearchParams(location.hash.slice(1)).get("token");
    if (found) {
      history.replaceState(null, "", location.pathname + location.search);
      this.set(found);
      return true;
    }
    try {
      const kept = JSON.parse(sessionStorage.getItem(TOKEN_KEY) ?? "null") as { value: string; refresh: string | null; expiresAtMs: number | null } | null;
      if (kept) [this.#value, this.#refresh, this.#expiresAtMs] = [kept.value, kept.refresh, kept.expiresAtMs ?? Infinity];
    } catch {
      // Without storage the token lasts until the page is left.
    }
    return false;
  }

  set(value: string): void {
    this.#keep(value.trim() || null, null, Infinity);
  }

  setLogIn(logIn: Tokens): void {
    const renewed = this.#refresh;
    this.#keep(logIn.access_token, logIn.refresh_token, Date.now() + logIn.expires_in * 1_000);
    if (renewed) this.#tabs?.postMessage({ renewed, value: this.#value, refresh: this.#refresh, expiresAtMs: this.#expiresAtMs });
  }

  /** The log-in cannot be renewed any more. */
  endRefresh(): void {
    this.#keep(this.#value, null, this.#expiresAtMs);
  }

  /** A tab that was duplicated has the same log-in, which can be renewed once: who does it tells the other. The answer ends it. */
  share(): () => void {
    this.#tabs = new BroadcastChannel(TOKEN_KEY);
    this.#tabs.onmessage = ({ data }: MessageEvent<{ renewed: string; value: string; refresh: string; expiresAtMs: number }>) => {
      if (data.renewed === this.#refresh) this.#keep(data.value, data.refresh, data.expiresAtMs);
    };
    return () => this.#tabs?.close();
  }

  #keep(value: string | null, refresh: string | null, expiresAtMs: number): void {
    [this.#value, this.#refresh, this.#expiresAtMs] = [value, refresh, expiresAtMs];
    try {
      if (value) sessionStorage.setItem(TOKEN_KEY, JSON.stringify({ value, refresh, expiresAtMs: Number.isFinite(expiresAtMs) ? expiresAtMs : null }));
      else sessionStorage.removeItem(TOKEN_KEY);
    } catch {
      // As above.
    }
  }
}

export const token = new Token();

async function send(path: string, init: RequestInit): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set("accept", "application/json");
  if (token.value) headers.set("authorization", `Bearer ${token.value}`);
  return fetch(path, { ...init, headers, cache: "no-store" });
}

async function request<T>(path: string, init: RequestInit = {}): Promise<T> {
  let response = await send(path, init);
  // A log-in that has run out is renewed once; only then is the caller bothered.
  if (response.status === 401 && token.refresh && (await renew())) response = await send(path, init);
  if (!response.ok) throw new ApiError(response.status, (await response.json().catch(() => ({}))) as Partial<Problem>, retryAfterMs(response));
  if (response.status === 204) return undefined as T;
  const type = response.headers.get("content-type") ?? "";
  return (type.includes("json") ? await response.json() : await response.text()) as T;
}

function retryAfterMs(response: Response): number | null {
  const seconds = Number(response.headers.get("retry-after") ?? "");
  return seconds > 0 ? seconds * 1_000 : null;
}

let renewal: Promise<boolean> | null = null;

/** A new token for the old one. A refresh token is good once, so all who ask at a time share one question. */
export function renew(): Promise<boolean> {
  const refresh_token = token.refresh;
  if (!refresh_token) return Promise.resolve(false);
  renewal ??= (async () => {
    try {
      const response = await fetch("/api/v1/auth/refresh", { method: "POST", headers: JSON_TYPE, body: JSON.stringify({ refresh_token }) });
      if (response.ok) token.setLogIn((await response.json()) as Tokens);
      else if (response.status === 401 && token.refresh === refresh_token) token.endRefresh();
      return response.ok;
    } catch {
      return false;
    } finally {
      renewal = null;
    }
  })();
  return renewal;
}

const JSON_TYPE = { "content-type": "application/json" };

export const read = <T>(path: string): Promise<T> => request<T>(path);

export const write = <T>(method: "POST" | "PUT" | "PATCH" | "DELETE", path: string, body?: unknown): Promise<T> =>
  request<T>(path, { method, ...(body === undefined ? {} : { headers: JSON_TYPE, body: JSON.stringify(body) }) });

/** Asks without a token that is no good any more. */
export async function logIn(name: string, password: string): Promise<Tokens> {
  token.set("");
  const answer = await write<Tokens>("POST", "/api/v1/auth/login", { name, password });
  token.setLogIn(answer);
  return answer;
}

const PAGE_LIMIT = 1000;
/** A page shows this many rows at most; searching the rest is the server's work. */
const MAX_PAGES = 20;

async function everyPage<T>(path: string): Promise<T[]> {
  const items: T[] = [];
  for (let page = 1; page <= MAX_PAGES; page += 1) {
    const answer = await read<Page<T>>(`${path}page=${page}&limit=${PAGE_LIMIT}`);
    items.push(...answer.items);
    if (!answer.pagination.has_next) break;
  }
  return items;
}

const FIELDS = `fields=${ITEM_FIELDS.join()}`;

/** What the feeds' rows do not carry: minimums, margins, discounts. */
export const fetchItems = () => everyPage<ItemRecord>(`/api/v1/inventory?sort_by=sku&${FIELDS}&`);

export const fetchPrices = () => everyPage<PriceRecord>("/api/v1/prices?");

/** Of a large shop only what stands out is asked for as a whole. */
export const fetchInactive = () => everyPage<ItemRecord>(`/api/v1/inventory?active=false&${FIELDS}&`);

/** Active items that are out, or low and not out: how many, and those that changed last. */
export const fetchLevel = (of: "low" | "out", limit: number) =>
  read<Page<ItemRecord>>(`/api/v1/inventory?active=true&low_stock=true&out_of_stock=${of === "out"}&sort_by=updated_at&sort_order=desc&limit=${limit}&${FIELDS}`);

/** How many items there are. */
export const fetchTotal = async (): Promise<number> => (await read<Page<ItemRecord>>("/api/v1/inventory?limit=1&fields=id")).pagination.total_items;

export const fetchItem = (id: Id) => read<ItemRecord>(`/api/v1/inventory/${encodeURIComponent(id)}?${FIELDS}`);

export type ItemChange = Partial<Pick<ItemRecord, "name" | "stock_quantity" | "min_stock_level" | "category">>;

export const changeItem = (id: Id, change: ItemChange) => write<ItemRecord>("PATCH", `/api/v1/inventory/${encodeURIComponent(id)}`, change);

export const adjustStock = (id: Id, delta: number) => write<ItemRecord>("POST", `/api/v1/inventory/${encodeURIComponent(id)}/adjust`, { delta });

/** Asks for as little as possible, to learn why a WebSocket was refused: the browser does not say. */
export async function isUnauthorized(): Promise<boolean> {
  try {
    await read("/api/v1/auth/me");
    return false;
  } catch (error) {
    return error instanceof ApiError && error.status === 401;
  }
}

export function socketUrl(path: string, query: Record<string, string>): string {
  const url = new URL(path, location.href);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.hash = "";
  if (token.value) url.searchParams.set("token", token.value);
  return url.href;
}
