/** How long a change is worth an animation. A row that scrolls into view later must not flash for old news. */
const FLASH_MS = 1_400;

export function flash(changedAtMs: number, direction: number, turn: number): string {
  if (changedAtMs === 0 || Date.now() - changedAtMs > FLASH_MS) return "";
  if (direction === 0) return "new";
  return `${direction > 0 ? "up" : "down"}-${turn % 2}`;
}
