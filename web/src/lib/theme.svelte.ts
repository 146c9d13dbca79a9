export type Theme = "auto" | "light" | "dark";

const NEXT: Record<Theme, Theme> = { auto: "light", light: "dark", dark: "auto" };

class ThemeChoice {
  value = $state<Theme>("auto");

  start(): void {
    const chosen = document.documentElement.dataset["theme"];
    this.value = chosen === "light" || chosen === "dark" ? chosen : "auto";
  }

  next(): void {
    this.value = NEXT[this.value];
    const root = document.documentElement;
    if (this.value === "auto") delete root.dataset["theme"];
    else root.dataset["theme"] = this.value;
    try {
      if (this.value === "auto") localStorage.removeItem("fanfare.theme");
      else localStorage.setItem("fanfare.theme", this.value);
    } catch {
      // Not remembered then.
    }
  }
}

export const theme = new ThemeChoice();
