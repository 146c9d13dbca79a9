import type { Position } from "./positions";

/** What the five feeds send. Fields that a publisher may leave out are optional, and unknown fields pass through. */
export type Id = number | string;
/** Money may arrive as an exact decimal in a string; it becomes a number only to be shown. */
export type Amount = number | string;

/** A row of the inventory, in the words of its updates. */
export interface InventoryRow {
  item_id: Id;
  sku: string;
  name: string;
  category: string | null;
  stock_quantity: number;
  available_quantity: number;
  is_low_stock: boolean;
  timestamp: string;
}

/** The price in force of an item in one currency. */
export interface PriceRow {
  inventory_id: Id;
  sku: string;
  new_price: Amount;
  currency: string;
  timestamp: string;
}

export interface InventoryUpdate {
  message_type: "inventory_update";
  action: "created" | "updated" | "deleted";
  item_id: Id;
  sku: string;
  name?: string;
  stock_quantity?: number;
  available_quantity?: number;
  is_low_stock?: boolean;
  timestamp?: string;
}

export interface StockAlert {
  message_type: "stock_alert";
  alert_level: "low" | "out";
  item_id: Id;
  sku: string;
  current_stock?: number;
  min_level?: number;
  timestamp?: string;
}

export interface PriceUpdate {
  message_type: "price_update";
  action: "created" | "updated" | "deleted";
  inventory_id: Id;
  sku?: string;
  old_price?: Amount | null;
  new_price?: Amount | null;
  price_change_amount?: Amount | null;
  price_change_percent?: Amount | null;
  currency?: string;
  timestamp?: string;
}

export interface PriceAlert extends Omit<PriceUpdate, "message_type" | "action"> {
  message_type: "price_alert";
  alert_type?: "large_change" | "approval_required" | "approved" | "rejected";
}

export interface BatchProgress {
  message_type: "batch_progress";
  batch_id: Id;
  batch_type?: string;
  state?: string;
  processed?: number;
  total?: number;
  failed?: number;
  timestamp?: string;
}

/** Progress events, match notifications and system notices: open shapes, read field by field. */
export type OpenMessage = Record<string, unknown> & { message_type?: string };

export type Message = Record<string, unknown>;

/** One text message as a JSON object, or null for anything else. */
export function parseMessage(text: unknown): Message | null {
  if (typeof text !== "string") return null;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Message) : null;
  } catch {
    return null;
  }
}

export function messageType(message: Message): string {
  const type = message["message_type"];
  return typeof type === "string" ? type : "";
}

/** Where a message stands. The server's own words stand nowhere. */
export function positionOf(message: Message): Position | null {
  const position = message["_position"] as Partial<Position> | undefined;
  if (typeof position !== "object" || position === null) return null;
  const { channel, epoch, offset } = position;
  if (typeof channel !== "string" || typeof epoch !== "string" || typeof offset !== "number") return null;
  return { channel, epoch, offset };
}

export interface Stand {
  epoch?: unknown;
  recovered?: unknown;
  gap?: unknown;
}

/** Where each channel of a feed stands as the server's first word has it. */
export function stands(message: Message): Record<string, Stand> {
  const channels = message["channels"];
  return typeof channels === "object" && channels !== null ? (channels as Record<string, Stand>) : {};
}

const isId = (value: unknown): boolean => typeof value === "number" || typeof value === "string";

/** Publishers of many kinds write to the feeds, so a message is checked before a tile trusts its fields. */
export function isInventoryUpdate(m: Message): boolean {
  return messageType(m) === "inventory_update" && isId(m["item_id"]) && typeof m["sku"] === "string";
}

export function isStockAlert(m: Message): boolean {
  return messageType(m) === "stock_alert" && typeof m["sku"] === "string";
}

export function isPriceUpdate(m: Message): boolean {
  return messageType(m) === "price_update" && isId(m["inventory_id"]);
}

export function isBatchProgress(m: Message): boolean {
  return messageType(m) === "batch_progress" && isId(m["batch_id"]);
}

/** What a folded message stands for: so many, between these bounds. Null when it stands for itself. */
export function foldOf(message: Message, field: string): { count: number; min: number; max: number } | null {
  const fold = message["_fold"] as { count?: unknown; min?: Record<string, unknown>; max?: Record<string, unknown> } | undefined;
  const [count, min, max] = [Number(fold?.count), Number(fold?.min?.[field]), Number(fold?.max?.[field])];
  return fold && Number.isFinite(count) && Number.isFinite(min) && Number.isFinite(max) ? { count, min, max } : null;
}
