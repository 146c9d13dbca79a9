import { ApiError, write } from "../api";

export interface Row {
  line: number;
  fields: Record<string, string | number>;
}

export interface Refusal {
  line: number;
  reason: string;
}

const NUMBERS = new Set(["stock_quantity", "reserved_quantity", "min_stock_level", "max_stock_level", "cost_price", "weight"]);
const WIDTH = 4;
const KEPT_REFUSALS = 200;

/** CSV with a heading line, quoted fields as spreadsheets write them, or NDJSON. */
export function parseRows(text: string): Row[] {
  const body = text.replace(/^\uFEFF/, "");
  return body.trimStart().startsWith("{") ? parseLines(body) : parseCsv(body);
}

function parseLines(text: string): Row[] {
  return text.split(/\r?\n/).flatMap((line, index) => {
    if (line.trim() === "") return [];
    try {
      const fields: unknown = JSON.parse(line);
      return typeof fields === "object" && fields !== null ? [{ line: index + 1, fields: fields as Row["fields"] }] : [];
    } catch {
      // Told by the server's rules: a row without a SKU is refused with its line.
      return [{ line: index + 1, fields: {} }];
    }
  });
}

function parseCsv(text: string): Row[] {
  const [heading, ...records] = recordsOf(text);
  if (!heading) return [];
  const names = heading.cells.map((name) => name.trim().toLowerCase());
  return records.flatMap(({ line, cells }) => {
    if (cells.every((cell) => cell.trim() === "")) return [];
    const fields: Row["fields"] = {};
    for (const [index, name] of names.entries()) {
      const cell = cells[index]?.trim() ?? "";
      if (cell !== "") fields[name] = NUMBERS.has(name) && Number.isFinite(Number(cell)) ? Number(cell) : cell;
    }
    return [{ line, fields }];
  });
}

function recordsOf(text: string): { line: number; cells: string[] }[] {
  const records: { line: number; cells: string[] }[] = [];
  let cells: string[] = [];
  let cell = "";
  let quoted = false;
  let line = 1;
  let begun = 1;
  const end = (): void => {
    records.push({ line: begun, cells: [...cells, cell] });
    cells = [];
    cell = "";
  };
  for (let at = 0; at < text.length; at += 1) {
    const sign = text[at]!;
    if (sign === "\n") line += 1;
    if (quoted) {
      if (sign !== '"') cell += sign;
      else if (text[at + 1] === '"') {
        cell += '"';
        at += 1;
      } else quoted = false;
    } else if (sign === '"' && cell === "") quoted = true;
    else if (sign === ",") {
      cells.push(cell);
      cell = "";
    } else if (sign === "\n") {
      end();
      begun = line;
    } else if (sign !== "\r") cell += sign;
  }
  if (cell !== "" || cells.length > 0) end();
  return records;
}

/** Sends rows a few at a time, and keeps count. What is refused is named; what is there already may be overwritten. */
export class Import {
  total = $state(0);
  done = $state(0);
  created = $state(0);
  updated = $state(0);
  failed = $state(0);
  refusals = $state.raw<Refusal[]>([]);
  running = $state(false);

  #cancelled = false;

  constructor(
    private readonly send: typeof write = write,
    private readonly pause: (ms: number) => Promise<void> = (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  ) {}

  cancel(): void {
    this.#cancelled = true;
  }

  async run(rows: Row[], known: (sku: string) => number | string | undefined): Promise<void> {
    [this.total, this.done, this.created, this.updated, this.failed, this.refusals] = [rows.length, 0, 0, 0, 0, []];
    this.running = true;
    this.#cancelled = false;
    const queue = rows.values();
    await Promise.all(
      Array.from({ length: WIDTH }, async () => {
        for (const row of queue) {
          if (this.#cancelled) return;
          await this.#one(row, known);
          this.done += 1;
        }
      }),
    );
    this.running = false;
  }

  async #one(row: Row, known: (sku: string) => number | string | undefined): Promise<void> {
    const id = known(String(row.fields["sku"] ?? "").toUpperCase());
    for (;;) {
      try {
        if (id === undefined) {
          await this.send("POST", "/api/v1/inventory", row.fields);
          this.created += 1;
        } else {
          await this.send("PATCH", `/api/v1/inventory/${encodeURIComponent(id)}`, row.fields);
          this.updated += 1;
        }
        return;
      } catch (error) {
        // Too many at once is no fault of the row's.
        if (error instanceof ApiError && (error.status === 429 || error.status === 503) && !this.#cancelled) {
          await this.pause(error.retryAfterMs ?? 1_000);
          continue;
        }
        this.failed += 1;
        const reason = error instanceof Error ? error.message : String(error);
        if (this.refusals.length < KEPT_REFUSALS) this.refusals = [...this.refusals, { line: row.line, reason }];
        return;
      }
    }
  }
}
