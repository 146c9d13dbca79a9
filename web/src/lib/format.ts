import type { Amount } from "../stream/messages";
import type { Language } from "./i18n.svelte";

/** A minus as wide as a plus, which lines figures up; and the yen sign that is as wide as a figure. */
const typeset = (text: string): string => text.replace("-", "−").replace("￥", "¥");

const cache = new Map<string, Intl.NumberFormat>();

function formatter(language: Language, options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = language + JSON.stringify(options);
  let found = cache.get(key);
  if (!found) {
    found = new Intl.NumberFormat(language, options);
    cache.set(key, found);
  }
  return found;
}

export const toNumber = (value: unknown): number | null => {
  if (value === null || value === undefined || value === "") return null;
  const number = Number(value);
  return Number.isFinite(number) ? number : null;
};

export const count = (language: Language, value: number): string => formatter(language, { maximumFractionDigits: 0 }).format(value);

export const rate = (language: Language, value: number): string =>
  formatter(language, { maximumFractionDigits: value > 0 && value < 10 ? 1 : 0 }).format(value);

export const signed = (language: Language, value: number): string =>
  typeset(formatter(language, { maximumFractionDigits: 0, signDisplay: "exceptZero" }).format(value));

export const percent = (language: Language, value: number, sign = true, digits = 1): string =>
  typeset(
    formatter(language, {
      style: "percent",
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
      signDisplay: sign ? "exceptZero" : "auto",
    }).format(value / 100),
  );

export function money(language: Language, value: Amount | null, currency: string): string {
  const number = toNumber(value);
  if (number === null) return "–";
  try {
    return typeset(formatter(language, { style: "currency", currency, currencyDisplay: "narrowSymbol" }).format(number));
  } catch {
    // A publisher may name a currency that is none.
    return `${count(language, number)} ${currency}`;
  }
}

const relatives = new Map<Language, Intl.RelativeTimeFormat>();

export function ago(language: Language, atMs: number, nowMs: number): string {
  let format = relatives.get(language);
  if (!format) {
    format = new Intl.RelativeTimeFormat(language, { style: "narrow", numeric: "auto" });
    relatives.set(language, format);
  }
  const seconds = Math.max(0, Math.floor((nowMs - atMs) / 1000));
  if (seconds < 60) return format.format(-seconds, "second");
  if (seconds < 3600) return format.format(-Math.floor(seconds / 60), "minute");
  if (seconds < 86_400) return format.format(-Math.floor(seconds / 3600), "hour");
  return format.format(-Math.floor(seconds / 86_400), "day");
}

/** A time of day in the viewer's zone; with the date when days matter. */
export function clockTime(language: Language, atMs: number, withDate = false): string {
  const options: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
  if (withDate) Object.assign(options, { month: "short", day: "numeric" });
  return dateFormat(language, options).format(atMs);
}

/** Of an end of a scale. */
export function scaleTime(language: Language, atMs: number, withDate: boolean): string {
  const options: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", hour12: false };
  return dateFormat(language, withDate ? { ...options, month: "short", day: "numeric" } : options).format(atMs);
}

const dates = new Map<string, Intl.DateTimeFormat>();

function dateFormat(language: Language, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = language + JSON.stringify(options);
  let found = dates.get(key);
  if (!found) {
    found = new Intl.DateTimeFormat(language, options);
    dates.set(key, found);
  }
  return found;
}

const UNITS = [["day", 86_400_000], ["hour", 3_600_000], ["minute", 60_000], ["second", 1_000]] as const;

/** A length of time in its two largest units, as in `2 min 5 s`. */
export function spanOf(language: Language, ms: number): string {
  const parts: string[] = [];
  let rest = Math.max(0, Math.round(ms / 1000) * 1000);
  for (const [unit, unitMs] of UNITS) {
    const amount = Math.floor(rest / unitMs);
    rest -= amount * unitMs;
    if (amount > 0 || (unit === "second" && parts.length === 0)) parts.push(formatter(language, { style: "unit", unit, unitDisplay: "short" }).format(amount));
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

/** Seconds as a person reads them: `120 µs`, `3.4 ms`, `1.2 s`. */
export function latency(language: Language, seconds: number): string {
  if (seconds === 0) return "0";
  const digits = (value: number): string => formatter(language, { maximumSignificantDigits: 2 }).format(value);
  if (seconds < 0.001) return `${digits(seconds * 1e6)} µs`;
  if (seconds < 1) return `${digits(seconds * 1e3)} ms`;
  return `${digits(seconds)} s`;
}

export const compact = (language: Language, value: number): string => formatter(language, { notation: "compact", maximumFractionDigits: 1 }).format(value);

export const bytes = (language: Language, value: number): string =>
  value >= 1e9 ? `${rate(language, value / 1e9)} GB` : value >= 1e6 ? `${rate(language, value / 1e6)} MB` : value >= 1e3 ? `${rate(language, value / 1e3)} kB` : `${count(language, value)} B`;
