import type * as Contract from "../contract/messages";
import type { Position } from "./positions";
import { parseMs } from "./timestamp";

/**
 * What the five feeds send, as the contract has it. Others than this server write to the feeds, too: what they may leave
 * out is optional, their ids may be texts, and unknown fields pass through.
 */
export type Id = Contract.Reference;
/** Money may arrive as an exact decimal in a string; it becomes a number only to be shown. */
export type Amount = NonNullable<Contract.Amount>;

/** A message of which only these fields are sure. */
type Loose<T, Sure extends keyof T, Key extends keyof T = never> = Pick<T, Exclude<Sure, Key>> & Partial<Omit<T, Sure | Key>> & Record<Key, Id>;

/** A row of the inventory, in the words of its updates. */
export type InventoryRow = Omit<Contract.InventoryUpdate, "message_type" | "action" | "item_id"> & { item_id: Id; category: string | null };

/** The price in force of an item in one currency. */
export type PriceRow = Pick<Contract.PriceUpdate, "sku" | "currency" | "timestamp"> & { inventory_id: Id; new_price: Amount };

export type InventoryUpdate = Loose<Contract.InventoryUpdate, "message_type" | "action" | "sku", "item_id">;
export type StockAlert = Loose<Contract.StockAlert, "message_type" | "alert_level" | "sku", "item_id">;
export type PriceUpdate = Loose<Contract.PriceUpdate, "message_type" | "action", "inventory_id">;
export type PriceAlert = Loose<Contract.PriceAlert, "message_type", "inventory_id">;
export type BatchProgress = Loose<Contract.BatchProgress, "message_type", "batch_id">;

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

/** What is older than this when it arrives was said while nobody listened. */
const LATE_MS = 5_000;

/** When something was said, by the server's word. */
export function saidAtMs(message: Message): number | null {
  for (const field of ["receivedAt", "timestamp", "eventTime"]) {
    const atMs = parseMs(typeof message[field] === "string" ? message[field] : null);
    if (atMs !== null) return atMs;
  }
  return null;
}

/** What is said now is said now, whatever clock its sender has. What comes late, after a loss or a rest, is as old as it says. */
export function toldAtMs(message: Message, nowMs: number): number {
  const atMs = saidAtMs(message);
  return atMs !== null && nowMs - atMs > LATE_MS ? atMs : nowMs;
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
