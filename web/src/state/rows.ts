/** A row to be imported, and where it stood. */
export interface Row {
  line: number;
  /** Null when it cannot be read. */
  fields: Record<string, string | number | boolean> | null;
}

const NUMBERS = new Set(["stock_quantity", "reserved_quantity", "min_stock_level", "max_stock_level", "cost_price", "weight"]);
const SWITCHES = new Set(["is_active", "is_trackable"]);
const GROUPED = /^\d{1,3}(,\d{3})+(\.\d+)?$/;

/** A file's text, and the name of its encoding where it says nothing of itself: spreadsheets write that of their country. */
export function decode(bytes: ArrayBuffer, japanese: boolean): { text: string; encoding: string | null } {
  const [first, second] = new Uint8Array(bytes);
  if (first === 0xff && second === 0xfe) return { text: new TextDecoder("utf-16le").decode(bytes), encoding: "UTF-16" };
  if (first === 0xfe && second === 0xff) return { text: new TextDecoder("utf-16be").decode(bytes), encoding: "UTF-16" };
  const strictly = (label: string): string | null => {
    try {
      return new TextDecoder(label, { fatal: true }).decode(bytes);
    } catch {
      return null;
    }
  };
  const text = strictly("utf-8");
  if (text !== null) return { text, encoding: null };
  const kana = strictly("shift_jis");
  // Accents may look like kanji; hardly a Japanese text has no kana.
  if (kana !== null && (japanese || /[\u3041-\u30ff\uff66-\uff9d]/.test(kana))) return { text: kana, encoding: "Shift_JIS" };
  return { text: new TextDecoder("windows-1252").decode(bytes), encoding: "Windows-1252" };
}

/** A table with a heading line, as spreadsheets write and copy it, or JSON: an object a line, or a list of them. */
export function parseRows(text: string): Row[] {
  const body = text.replace(/^\uFEFF/, "");
  const sign = body.trimStart()[0];
  return sign === "[" ? parseList(body) : sign === "{" ? parseLines(body) : parseTable(body);
}

/** Whether no row says what it is of: then none can be taken. */
export const lacksSku = (rows: readonly Row[]): boolean => rows.length > 0 && rows.every(({ fields }) => fields?.["sku"] === undefined);

const fieldsOf = (value: unknown): Row["fields"] => (typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Row["fields"]) : null);

function parseList(text: string): Row[] {
  try {
    return (JSON.parse(text) as unknown[]).map((value, index) => ({ line: index + 1, fields: fieldsOf(value) }));
  } catch {
    return [{ line: 1, fields: null }];
  }
}

function parseLines(text: string): Row[] {
  return text.split(/\r?\n/).flatMap((line, index) => {
    if (line.trim() === "") return [];
    try {
      return [{ line: index + 1, fields: fieldsOf(JSON.parse(line)) }];
    } catch {
      return [{ line: index + 1, fields: null }];
    }
  });
}

function parseTable(text: string): Row[] {
  const [heading, ...records] = recordsOf(text);
  if (!heading) return [];
  const names = heading.cells.map((name) => name.trim().toLowerCase());
  return records.flatMap(({ line, cells }) => {
    if (cells.every((cell) => cell.trim() === "")) return [];
    const fields: NonNullable<Row["fields"]> = {};
    for (const [index, name] of names.entries()) {
      const cell = cells[index]?.trim() ?? "";
      if (cell !== "") fields[name] = valueOf(name, cell);
    }
    return [{ line, fields }];
  });
}

function valueOf(name: string, cell: string): string | number | boolean {
  const number = Number(GROUPED.test(cell) ? cell.replaceAll(",", "") : cell);
  if (NUMBERS.has(name) && Number.isFinite(number)) return number;
  if (SWITCHES.has(name) && /^(true|false)$/i.test(cell)) return cell.toLowerCase() === "true";
  return cell;
}

/** What stands between the cells: of a copied range a tab, and in some countries a semicolon. */
function separatorOf(text: string): string {
  const heading = text.split(/\r?\n/, 1)[0] ?? "";
  const times = (sign: string): number => heading.split(sign).length;
  return ["\t", ";"].reduce((most, sign) => (times(sign) > times(most) ? sign : most), ",");
}

function recordsOf(text: string): { line: number; cells: string[] }[] {
  const separator = separatorOf(text);
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
    else if (sign === separator) {
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
