/** How long a change is worth an animation. A row that scrolls into view later must not flash for old news. */
const FLASH_MS = 1_400;

/** What could not be read is asked for again as often. */
const AGAIN_MS = 5_000;

/** When to ask again: another number each time that it is due, and the same for as long as nothing fails. */
export class Again {
  #turn = 0;

  turn(failed: boolean, nowMs: number): number {
    if (failed) this.#turn = Math.floor(nowMs / AGAIN_MS);
    return this.#turn;
  }
}

export function flash(changedAtMs: number, direction: number, turn: number): string {
  if (changedAtMs === 0 || Date.now() - changedAtMs > FLASH_MS) return "";
  if (direction === 0) return "new";
  return `${direction > 0 ? "up" : "down"}-${turn % 2}`;
}
