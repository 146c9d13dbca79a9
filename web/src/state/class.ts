import type { Matrix, StudentLine } from "../contract/api";
import type { Message } from "../stream/messages";
import { messageType } from "../stream/messages";
import { toNumber } from "../lib/format";
import { parseMs } from "../stream/timestamp";

export type Mark = "solved" | "failed" | null;
export type Signal = "help" | "failing" | "stuck" | "idle";
/** The order in which a teacher would go round. */
export const SIGNALS: readonly Signal[] = ["help", "failing", "stuck", "idle"];

/** One for all comparisons: to make it takes longer than to compare a whole class. */
const NAMES = new Intl.Collator(undefined, { numeric: true });

/** What the page reads of a student's state. */
export type StudentAnswer = Pick<
  StudentLine,
  "user_id" | "name" | "email" | "team" | "class" | "notebook" | "cell_id" | "last_event_at" | "errors_in_row" | "is_stuck" | "is_failing" | "is_asking" | "is_idle"
>;
export type MatrixAnswer = Omit<Matrix, "pagination"> & Partial<Pick<Matrix, "pagination">>;

export interface Cell {
  readonly mark: Mark;
  readonly runs: number;
  readonly errors: number;
  /** When it changed here; what makes it flash. */
  readonly changedAtMs: number;
}

export interface Student {
  readonly id: string;
  readonly name: string;
  readonly team: string;
  readonly klass: string;
  readonly cells: readonly (Cell | null)[];
  readonly solved: number;
  readonly signals: ReadonlySet<Signal>;
  /** Where in the matrix he is; -1 when elsewhere. */
  readonly at: number;
  readonly errorsInRow: number;
  readonly lastAtMs: number | null;
}

export interface Column {
  id: string;
  index: number | null;
}

/** A class at one notebook: what the API knew, and what has been told since. Students are replaced, never changed. */
export class Classroom {
  readonly columns: Column[] = [];
  #students = new Map<string, Student>();
  #place = new Map<string, number>();

  constructor(readonly notebook: string | null) {}

  static of(matrix: MatrixAnswer | null, students: readonly StudentAnswer[]): Classroom {
    const room = new Classroom(matrix?.notebook ?? null);
    for (const cell of matrix?.cells ?? []) room.#column(cell.cell_id, cell.cell_index ?? null);
    const rows = new Map((matrix?.items ?? []).map((row) => [row.user_id, row]));
    for (const answer of students) {
      const row = rows.get(answer.user_id);
      const signals = new Set<Signal>();
      if (answer.is_asking) signals.add("help");
      if (answer.is_failing) signals.add("failing");
      if (answer.is_stuck) signals.add("stuck");
      if (answer.is_idle) signals.add("idle");
      const cells = (row?.cells ?? []).map((cell) => (cell?.status ? { mark: cell.status as Mark, runs: cell.runs, errors: cell.errors, changedAtMs: 0 } : null));
      room.#students.set(answer.user_id, {
        id: answer.user_id,
        name: answer.name || answer.email || answer.user_id,
        team: answer.team ?? "",
        klass: answer.class ?? "",
        cells,
        solved: row?.solved ?? 0,
        signals,
        at: answer.notebook === room.notebook && answer.cell_id ? (room.#place.get(answer.cell_id) ?? -1) : -1,
        errorsInRow: answer.errors_in_row,
        lastAtMs: parseMs(answer.last_event_at),
      });
    }
    return room;
  }

  get size(): number {
    return this.#students.size;
  }

  get(id: string): Student | undefined {
    return this.#students.get(id);
  }

  /** Answers whether somebody or something is new, so that the API knows more than the message says. */
  apply(message: Message, nowMs: number): boolean {
    const id = String(message["userId"] ?? "");
    if (id === "") return false;
    const before = this.#students.get(id);
    if (messageType(message) === "progress_signal") {
      if (!before) return true;
      const signals = new Set(before.signals);
      const signal = message["signal"] as Signal;
      if (message["active"] === true) signals.add(signal);
      else signals.delete(signal);
      this.#students.set(id, { ...before, signals });
      return false;
    }
    const student = before ?? this.#newcomer(id);
    const here = typeof message["notebookPath"] === "string" && message["notebookPath"] === this.notebook;
    const cells = [...student.cells];
    let [at, solved] = [here ? student.at : -1, student.solved];
    const status = message["status"];
    const cellId = typeof message["cellId"] === "string" ? message["cellId"] : null;
    if (here && cellId !== null && (status === "success" || status === "error")) {
      at = this.#column(cellId, toNumber(message["cellIndex"]));
      const known = cells[at] ?? null;
      // A cell that was solved once stays solved.
      const mark: Mark = known?.mark === "solved" || message["solved"] === true || status === "success" ? "solved" : "failed";
      if (mark === "solved" && known?.mark !== "solved") solved += 1;
      cells[at] = { mark, runs: toNumber(message["runs"]) ?? (known?.runs ?? 0) + 1, errors: toNumber(message["errors"]) ?? (known?.errors ?? 0) + (status === "error" ? 1 : 0), changedAtMs: nowMs };
    }
    const told = message["signals"] as Partial<Record<Signal, boolean>> | undefined;
    const signals = told ? new Set(SIGNALS.filter((signal) => told[signal] === true)) : student.signals;
    this.#students.set(id, {
      ...student,
      name: typeof message["userName"] === "string" && message["userName"] !== "" ? message["userName"] : student.name,
      team: typeof message["teamName"] === "string" ? message["teamName"] : student.team,
      klass: typeof message["class"] === "string" ? message["class"] : student.klass,
      cells,
      solved,
      at,
      signals,
      errorsInRow: toNumber(message["errorsInRow"]) ?? student.errorsInRow,
      lastAtMs: parseMs(message["eventTime"]) ?? nowMs,
    });
    return !before;
  }

  /** Who needs somebody first, then by name; or only those with a signal. */
  view(only: Signal | null, klass: string | null, search: string): string[] {
    const words = search.toLowerCase().split(/\s+/).filter(Boolean);
    return [...this.#students.values()]
      .filter((student) => (!only || student.signals.has(only)) && (!klass || student.klass === klass) && words.every((word) => `${student.name} ${student.team} ${student.id}`.toLowerCase().includes(word)))
      .sort((a, b) => urgency(a) - urgency(b) || NAMES.compare(a.name, b.name))
      .map(({ id }) => id);
  }

  classes(): string[] {
    return [...new Set([...this.#students.values()].map((student) => student.klass))].filter(Boolean).sort();
  }

  tally(klass: string | null): Record<Signal, number> & { students: number } {
    const tally = { students: 0, help: 0, failing: 0, stuck: 0, idle: 0 };
    for (const student of this.#students.values()) {
      if (klass && student.klass !== klass) continue;
      tally.students += 1;
      for (const signal of student.signals) tally[signal] += 1;
    }
    return tally;
  }

  #newcomer(id: string): Student {
    return { id, name: id, team: "", klass: "", cells: [], solved: 0, signals: new Set(), at: -1, errorsInRow: 0, lastAtMs: null };
  }

  #column(id: string, index: number | null): number {
    let place = this.#place.get(id);
    if (place === undefined) {
      place = this.columns.push({ id, index }) - 1;
      this.#place.set(id, place);
    }
    return place;
  }
}

function urgency(student: Student): number {
  const place = SIGNALS.findIndex((signal) => student.signals.has(signal));
  return place === -1 ? SIGNALS.length : place;
}

/** Errors that are the same but for names and numbers stand together. */
export function errorKind(message: string): string {
  return message.split("\n")[0]!.replace(/'[^']*'|"[^"]*"|\b\d+\b/g, "…").slice(0, 120);
}
