import { toNumber } from "../lib/format";
import { type Amount, type BatchProgress, type Message, type PriceAlert, type StockAlert } from "../stream/messages";

export interface Alert {
  key: number;
  atMs: number;
  kind: "low" | "out" | "price";
  /** Of its item; what that is called is known elsewhere. */
  itemKey: string;
  sku: string;
  stock: number | null;
  min: number | null;
  oldPrice: Amount | null;
  newPrice: Amount | null;
  percent: number | null;
  currency: string;
  awaitsApproval: boolean;
  /** How often this item has raised this alert since the page was opened. */
  times: number;
}

export interface LearningEvent {
  key: number;
  atMs: number;
  who: string;
  kind: "executed" | "failed" | "opened" | "saved" | "help" | "helpEnd" | "signal" | "other";
  /** The event's own name, shown when the kind is `other`; of a signal its name. */
  type: string;
  /** A signal that has gone out. */
  isOver: boolean;
  where: string;
  cell: number | null;
  detail: string;
}

export interface Batch {
  key: string;
  type: string;
  state: string;
  processed: number;
  total: number;
  failed: number;
  atMs: number;
}

export interface MatchNotice {
  key: number;
  atMs: number;
  who: string;
  count: number | null;
  detail: string;
}

export interface Notice {
  atMs: number;
  level: "info" | "warning" | "error";
  text: string;
}

let lastKey = 0;
const nextKey = (): number => (lastKey += 1);

const text = (message: Message, ...names: string[]): string => {
  for (const name of names) {
    const value = message[name];
    if (typeof value === "string" && value !== "") return value;
    if (typeof value === "number") return String(value);
  }
  return "";
};

export function stockAlert(m: StockAlert, nowMs: number): Alert {
  return {
    key: nextKey(),
    atMs: nowMs,
    kind: m.alert_level === "out" ? "out" : "low",
    itemKey: String(m.item_id),
    sku: m.sku,
    stock: toNumber(m.current_stock),
    min: toNumber(m.min_level),
    oldPrice: null,
    newPrice: null,
    percent: null,
    currency: "",
    awaitsApproval: false,
    times: 1,
  };
}

export function priceAlert(m: PriceAlert, nowMs: number): Alert {
  return {
    key: nextKey(),
    atMs: nowMs,
    kind: "price",
    itemKey: String(m.inventory_id),
    sku: m.sku ?? "",
    stock: null,
    min: null,
    oldPrice: m.old_price ?? null,
    newPrice: m.new_price ?? null,
    percent: toNumber(m.price_change_percent),
    currency: m.currency ?? "JPY",
    awaitsApproval: m.alert_type === "approval_required",
    times: 1,
  };
}

/** Event names vary by the version of what sends them, so they are read by what they contain. */
function learningKind(type: string, hasError: boolean): LearningEvent["kind"] {
  if (hasError || /error/.test(type)) return "failed";
  if (/help_(stop|end)/.test(type)) return "helpEnd";
  if (/help/.test(type)) return "help";
  if (/execut/.test(type)) return "executed";
  if (/open|start/.test(type)) return "opened";
  if (/save/.test(type)) return "saved";
  return "other";
}

/** The lane with new alerts on top. An item that goes on raising one alert keeps one place, with a count. */
export function mergeAlerts(fresh: Alert[], known: Alert[], limit: number): Alert[] {
  const lane = new Map<string, Alert>();
  for (const alert of [...known].reverse().concat(fresh)) {
    const name = `${alert.kind} ${alert.sku}`;
    const before = lane.get(name);
    lane.delete(name);
    lane.set(name, before ? { ...alert, times: before.times + alert.times } : alert);
  }
  return [...lane.values()].reverse().slice(0, limit);
}

export function learningEvent(m: Message, nowMs: number): LearningEvent {
  const type = text(m, "eventType", "event_type", "message_type");
  const path = text(m, "notebookPath", "notebook_path", "notebook");
  const index = toNumber(m["cellIndex"] ?? m["cell_index"]);
  const signal = type === "progress_signal" ? text(m, "signal") : "";
  return {
    key: nextKey(),
    atMs: nowMs,
    who: text(m, "userName", "user_name", "userId", "user_id", "student", "emailAddress"),
    kind: signal ? "signal" : learningKind(type, m["hasError"] === true || m["has_error"] === true || m["status"] === "error"),
    type: signal || type,
    isOver: signal !== "" && m["active"] !== true,
    where: path.split("/").at(-1) ?? "",
    cell: index,
    detail: text(m, "errorMessage", "error_message"),
  };
}

export function batch(m: BatchProgress, nowMs: number): Batch {
  return {
    key: String(m.batch_id),
    type: m.batch_type ?? "",
    state: m.state ?? "",
    processed: toNumber(m.processed) ?? 0,
    total: toNumber(m.total) ?? 0,
    failed: toNumber(m.failed) ?? 0,
    atMs: nowMs,
  };
}

export function matchNotice(m: Message, nowMs: number): MatchNotice {
  const list = [m["matches"], m["jobs"], m["new_matches"]].find((value) => Array.isArray(value)) as unknown[] | undefined;
  const first = list?.[0];
  const best = typeof first === "object" && first !== null ? (first as Message) : m;
  return {
    key: nextKey(),
    atMs: nowMs,
    who: text(m, "user_name", "user_id", "userName", "userId"),
    count: list?.length ?? toNumber(m["count"] ?? m["match_count"] ?? m["new_matches"]),
    detail: [text(best, "title", "job_title"), text(best, "company_name", "company")].filter(Boolean).join(" · "),
  };
}

export function notice(m: Message, nowMs: number): Notice | null {
  const words = text(m, "message", "text", "title", "detail");
  if (words === "") return null;
  const level = text(m, "level", "severity");
  return { atMs: nowMs, text: words, level: level === "error" || level === "critical" ? "error" : level.startsWith("warn") ? "warning" : "info" };
}

