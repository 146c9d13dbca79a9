import type { Amount, Id } from "./stream/messages";

const TOKEN_KEY = "fanfare.token";

export interface ItemRecord {
  id: Id;
  sku: string;
  name: string;
  category: string | null;
  stock_quantity: number;
  reserved_quantity: number;
  available_quantity: number;
  is_low_stock: boolean;
  min_stock_level: number;
  is_active: boolean;
  updated_at: string;
}

export interface PriceRecord {
  id: Id;
  inventory_id: Id;
  sku: string;
  name: string;
  selling_price: Amount;
  cost_price: Amount | null;
  discount_price: Amount | null;
  currency: string;
  margin_percent: Amount | null;
  is_active: boolean;
  requires_approval: boolean;
  updated_at?: string;
}

interface Page<T> {
  items: T[];
  pagination: { page: number; total_items: number; has_next: boolean };
}

interface Problem {
  title?: string;
  detail?: string;
  errors?: { field?: string; message?: string }[];
}

/** An answer that is not a success, with the words the server gave. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    problem: Problem,
  ) {
    const fields = (problem.errors ?? []).map((e) => [e.field, e.message].filter(Boolean).join(": ")).filter(Boolean);
    super(fields.join("; ") || problem.detail || problem.title || `HTTP ${status}`);
    this.name = "ApiError";
  }
}

/** The caller's token. It comes in the address's fragment, which no server sees, and lives as long as the tab. */
class Token {
  #value: string | null = null;

  get value(): string | null {
    return this.#value;
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
      this.#value = sessionStorage.getItem(TOKEN_KEY);
    } catch {
      // Without storage the token lasts until the page is left.
    }
    return false;
  }

  set(value: string): void {
    this.#value = value.trim() || null;
    try {
      if (this.#value) sessionStorage.setItem(TOKEN_KEY, this.#value);
      else sessionStorage.removeItem(TOKEN_KEY);
    } catch {
      // As above.
    }
  }
}

export const token = new Token();

async function request<T>(path: string, init: RequestInit = {}): Promise<T> {
  const headers = new Headers(init.headers);
  headers.set("accept", "application/json");
  if (token.value) headers.set("authorization", `Bearer ${token.value}`);
  const response = await fetch(path, { ...init, headers, cache: "no-store" });
  if (!response.ok) throw new ApiError(response.status, (await response.json().catch(() => ({}))) as Problem);
  return (await response.json()) as T;
}

const PAGE_LIMIT = 1000;
/** A page shows this many rows at most; searching the rest is the server's work. */
const MAX_PAGES = 20;

async function everyPage<T>(path: string): Promise<T[]> {
  const items: T[] = [];
  for (let page = 1; page <= MAX_PAGES; page += 1) {
    const answer = await request<Page<T>>(`${path}page=${page}&limit=${PAGE_LIMIT}`);
    items.push(...answer.items);
    if (!answer.pagination.has_next) break;
  }
  return items;
}

/** What the feeds' rows do not carry: minimums, margins, discounts. */
export const fetchItems = () => everyPage<ItemRecord>("/api/v1/inventory?sort_by=sku&");

export const fetchPrices = () => everyPage<PriceRecord>("/api/v1/prices?");

export function adjustStock(id: Id, delta: number): Promise<ItemRecord> {
  return request(`/api/v1/inventory/${encodeURIComponent(id)}/adjust`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ delta }),
  });
}

/** Asks for as little as possible, to learn why a WebSocket was refused: the browser does not say. */
export async function isUnauthorized(): Promise<boolean> {
  try {
    await request("/api/v1/inventory?limit=1");
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
