import { en, type Phrase } from "./words/en";
import { ja } from "./words/ja";

export type { Phrase };
export type Language = "en" | "ja";

const dictionaries: Record<Language, Record<Phrase, string>> = { en, ja };

class I18n {
  language = $state<Language>("en");

  start(): void {
    // The boot script has already chosen, by memory or by the browser's language.
    this.language = document.documentElement.lang === "ja" ? "ja" : "en";
  }

  toggle(): void {
    this.language = this.language === "en" ? "ja" : "en";
    document.documentElement.lang = this.language;
    try {
      localStorage.setItem("fanfare.language", this.language);
    } catch {
      // Not remembered then.
    }
  }
}

export const i18n = new I18n();

export function t(phrase: Phrase, values?: Record<string, string | number>): string {
  const text = dictionaries[i18n.language][phrase];
  if (!values) return text;
  // `{n}` is a value, `{n:s}` the ending of a word where there are none or several.
  return text.replace(/\{(\w+)(?::(\w+))?\}/g, (_, name: string, ending?: string) => (ending === undefined ? String(values[name] ?? "") : String(values[name]) === "1" ? "" : ending));
}

/** Words from outside, such as a batch's state, are translated when they are known and shown as they are when not. */
export function tOr(word: string, otherwise = word): string {
  return Object.hasOwn(en, word) ? t(word as Phrase) : otherwise;
}
