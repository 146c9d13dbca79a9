const STEPS: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };

/** A long list is one stop of the tab order, and the arrows walk those of its entries that `selector` finds. */
export function rove(event: KeyboardEvent & { currentTarget: HTMLElement }, selector: string): void {
  const step = STEPS[event.key];
  if (step === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
  const all = [...event.currentTarget.querySelectorAll<HTMLElement>(selector)];
  const place = Math.max(0, Math.min(all.length - 1, all.indexOf(document.activeElement as HTMLElement) + step));
  if (!all[place]) return;
  event.preventDefault();
  all[place].focus();
}
