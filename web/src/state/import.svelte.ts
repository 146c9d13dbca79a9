import { ApiError, read, write } from "../api";
import { t } from "../lib/i18n.svelte";
import type { Id } from "../stream/messages";
import type { Row } from "./rows";

export interface Refusal {
  line: number;
  reason: string;
}

type Known = (sku: string) => Id | undefined;

const WIDTH = 4;
const KEPT_REFUSALS = 200;

const skuOf = (row: Row): string => String(row.fields?.["sku"] ?? "").trim().toUpperCase();

async function find(sku: string): Promise<Id | undefined> {
  const answer = await read<{ items: { id: Id; sku: string }[] }>(`/api/v1/inventory?${new URLSearchParams({ q: sku, limit: "1000" })}`);
  return answer.items.find((item) => item.sku === sku)?.id;
}

/**
 * Sends rows a few at a time, and keeps count. What is refused is named; what is there already is overwritten. When the
 * server does not answer, or wants a log-in first, it stops, and goes on from there when it is told to.
 */
export class Import {
  total = $state(0);
  done = $state(0);
  created = $state(0);
  updated = $state(0);
  failed = $state(0);
  refusals = $state.raw<Refusal[]>([]);
  running = $state(false);
  /** Why it stopped before its end. */
  problem = $state("");

  #rest: Row[] = [];
  #halted = false;

  constructor(
    private readonly send: typeof write = write,
    private readonly pause: (ms: number) => Promise<void> = (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    private readonly seek: (sku: string) => Promise<Id | undefined> = find,
  ) {}

  cancel(): void {
    this.#halted = true;
  }

  async run(rows: readonly Row[], known: Known): Promise<void> {
    [this.total, this.done, this.created, this.updated, this.failed, this.refusals] = [rows.length, 0, 0, 0, 0, []];
    // Several are under way at once, so of two rows of one item only the later one may be.
    const last = new Map(rows.map((row) => [skuOf(row), row.line]));
    this.#rest = rows.filter((row) => {
      const later = skuOf(row) === "" ? row.line : last.get(skuOf(row))!;
      if (row.fields !== null && later === row.line) return true;
      this.#refuse(row, row.fields === null ? t("importUnreadable") : t("importTwice", { n: later }));
      this.done += 1;
      return false;
    });
    await this.goOn(known);
  }

  /** Sends what has not been sent. */
  async goOn(known: Known): Promise<void> {
    this.running = true;
    this.problem = "";
    this.#halted = false;
    await Promise.all(
      Array.from({ length: WIDTH }, async () => {
        while (!this.#halted) {
          const row = this.#rest.shift();
          if (!row) return;
          if (await this.#one(row, known)) this.done += 1;
          else this.#rest.unshift(row);
        }
      }),
    );
    this.running = false;
  }

  /** Answers whether the row is done with. */
  async #one(row: Row, known: Known): Promise<boolean> {
    let id = known(skuOf(row));
    for (;;) {
      try {
        if (id === undefined) {
          await this.send("POST", "/api/v1/inventory", row.fields);
          this.created += 1;
        } else {
          await this.send("PATCH", `/api/v1/inventory/${encodeURIComponent(id)}`, row.fields);
          this.updated += 1;
        }
        return true;
      } catch (error) {
        const status = error instanceof ApiError ? error.status : 0;
        // Too many at once is no fault of the row's.
        if ((status === 429 || status === 503) && !this.#halted) {
          await this.pause((error as ApiError).retryAfterMs ?? 1_000);
          continue;
        }
        if ([0, 401, 429, 502, 503, 504].includes(status)) {
          if (!this.#halted) this.problem = error instanceof ApiError ? error.message : t("networkError");
          this.#halted = true;
          return false;
        }
        // It is there after all: somebody was quicker, or the answer to a first try was lost.
        if (status === 409 && id === undefined) {
          id = await this.seek(skuOf(row)).catch(() => undefined);
          if (id !== undefined) continue;
        }
        this.#refuse(row, error instanceof Error ? error.message : String(error));
        return true;
      }
    }
  }

  #refuse(row: Row, reason: string): void {
    this.failed += 1;
    if (this.refusals.length < KEPT_REFUSALS) this.refusals = [...this.refusals, { line: row.line, reason }];
  }
}
