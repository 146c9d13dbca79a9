import type { Amount } from "../stream/messages";
import type { Language } from "./i18n.svelte";

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
  formatter(language, { maximumFractionDigits: 0, signDisplay: "exceptZero" }).format(value);

export const percent = (language: Language, value: number, sign = true): string =>
  formatter(language, {
    style: "percent",
    minimumFractionDigits: 1,
    maximumFractionDigits: 1,
    signDisplay: sign ? "exceptZero" : "auto",
  }).format(value / 100);

export function money(language: Language, value: Amount | null, currency: string): string {
  const number = toNumber(value);
  if (number === null) return "–";
  try {
    return formatter(language, { style: "currency", currency, currencyDisplay: "narrowSymbol" }).format(number);
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
