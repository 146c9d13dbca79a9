import { toNumber } from "../lib/format";
import type { Batch } from "../contract/api";
import type { Message } from "../stream/messages";
import { parseMs } from "../stream/timestamp";

/** What the page reads of a batch. */
export type BatchAnswer = Omit<Batch, "created_at" | "updated_at"> & Partial<Pick<Batch, "created_at">>;

export interface BatchRow {
  readonly key: string;
  readonly type: string;
  readonly state: string;
  readonly processed: number;
  readonly total: number;
  readonly failed: number;
  readonly error: string | null;
  readonly createdAtMs: number | null;
  readonly finishedAtMs: number | null;
  /** What was seen of its course, oldest first: the rate is read from it. */
  readonly course: readonly { atMs: number; processed: number }[];
}

/** The rate is that of this last time; a batch that was quicker before says nothing of its end. */
const RATE_MS = 15_000;
const COURSE = 200;
const KEPT = 100;

/** Batches by id: what the API knew, and what has been told since. Rows are replaced, never changed. */
export class Batches {
  #rows = new Map<string, BatchRow>();

  put(answer: BatchAnswer, atMs: number): void {
    const key = String(answer.batch_id);
    const before = this.#rows.get(key);
    // An answer that was under way while messages came is older than they are.
    if (before && before.processed > answer.processed && before.state === answer.state) return;
    if (before && isOver(before.state) && !isOver(answer.state) && before.processed >= answer.processed) return;
    this.#rows.set(key, {
      key,
      type: answer.batch_type,
      state: answer.state,
      processed: answer.processed,
      total: answer.total,
      failed: answer.failed,
      error: answer.error ?? before?.error ?? null,
      createdAtMs: parseMs(answer.created_at) ?? before?.createdAtMs ?? atMs,
      finishedAtMs: parseMs(answer.finished_at) ?? before?.finishedAtMs ?? null,
      course: extend(before, answer.processed, atMs),
    });
    if (this.#rows.size > KEPT) for (const row of this.rows().slice(KEPT)) this.#rows.delete(row.key);
  }

  apply(message: Message, nowMs: number): void {
    const key = message["batch_id"];
    if (typeof key !== "number" && typeof key !== "string") return;
    const state = String(message["state"] ?? "running");
    const before = this.#rows.get(String(key));
    this.#rows.set(String(key), {
      key: String(key),
      type: String(message["batch_type"] ?? before?.type ?? ""),
      state,
      processed: toNumber(message["processed"]) ?? before?.processed ?? 0,
      total: toNumber(message["total"]) ?? before?.total ?? 0,
      failed: toNumber(message["failed"]) ?? before?.failed ?? 0,
      error: before?.error ?? null,
      createdAtMs: before?.createdAtMs ?? nowMs,
      finishedAtMs: isOver(state) ? (before?.finishedAtMs ?? nowMs) : null,
      course: extend(before, toNumber(message["processed"]) ?? 0, nowMs),
    });
  }

  /** The newest first. */
  rows(): BatchRow[] {
    return [...this.#rows.values()].sort((a, b) => (b.createdAtMs ?? 0) - (a.createdAtMs ?? 0) || Number(b.key) - Number(a.key));
  }
}

function extend(before: BatchRow | undefined, processed: number, atMs: number): BatchRow["course"] {
  return [...(before?.course ?? []).slice(1 - COURSE), { atMs, processed }];
}

export const isOver = (state: string): boolean => state === "completed" || state === "failed" || state === "cancelled";

/** Pieces a second of late; null before there is anything to measure. */
export function rateOf(row: BatchRow, nowMs: number): number | null {
  const recent = row.course.filter((point) => point.atMs >= nowMs - RATE_MS);
  const [first, last] = [recent[0], recent.at(-1)];
  if (!first || !last || last.atMs - first.atMs < 250) return null;
  return ((last.processed - first.processed) * 1000) / (Math.max(last.atMs, nowMs - 3_000) - first.atMs);
}

/** How long it will take at the present rate; null when nothing can be said. */
export function remainingMs(row: BatchRow, nowMs: number): number | null {
  const rate = rateOf(row, nowMs);
  return rate && rate > 0 ? ((row.total - row.processed) / rate) * 1000 : null;
}

/** A batch as it stood at a moment, as far as its beginning and end tell; null when there was none yet. */
export function asOf(row: BatchRow, atMs: number): BatchRow | null {
  if (row.createdAtMs !== null && row.createdAtMs > atMs) return null;
  if (row.finishedAtMs !== null && row.finishedAtMs <= atMs) return row;
  const seen = row.course.findLast((point) => point.atMs <= atMs);
  return { ...row, state: "running", processed: seen?.processed ?? 0, failed: 0, finishedAtMs: null };
}
