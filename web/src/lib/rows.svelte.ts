import { createVirtualizer, type SvelteVirtualizer } from "@tanstack/svelte-virtual";
import { untrack } from "svelte";
import { fromStore } from "svelte/store";

export interface RowWindowOptions {
  count: () => number;
  heightPx: () => number;
  scroller: () => HTMLElement | undefined;
  /** Rows above and below those in view. */
  marginRows: number;
}

/**
 * Which rows of a long list exist: those in view and some around them, as many as were ever needed. A row that scrolls out
 * becomes the one that scrolls in (its slot), so nothing is made anew. Belongs to the component that makes it.
 */
export class RowWindow {
  readonly #virtualizer: { readonly current: SvelteVirtualizer<HTMLElement, HTMLElement> };
  #most = 0;
  #focused: string | undefined;
  readonly #seen = $derived.by(() => {
    const needed = this.#virtualizer.current.getVirtualItems();
    const rows = (this.#most = Math.max(this.#most, needed.length));
    return { first: Math.max(0, Math.min(needed[0]?.index ?? 0, this.options.count() - rows)), rows };
  });

  constructor(private readonly options: RowWindowOptions) {
    const { count, heightPx, scroller, marginRows } = options;
    this.#virtualizer = fromStore(createVirtualizer<HTMLElement, HTMLElement>({ count: 0, getScrollElement: () => scroller() ?? null, estimateSize: heightPx, overscan: marginRows }));
    $effect(() => {
      const [rows, height, element] = [count(), heightPx(), scroller()];
      untrack(() => {
        this.#virtualizer.current.setOptions({ count: rows, estimateSize: () => height, getScrollElement: () => element ?? null });
        this.#virtualizer.current.measure();
      });
    });
    $effect(() => {
      const element = scroller();
      if (!element) return;
      const end = new AbortController();
      element.addEventListener("focusin", ({ target }) => (this.#focused = indexOf(target)), { signal: end.signal });
      element.addEventListener("focusout", ({ relatedTarget }) => relatedTarget instanceof Node && !element.contains(relatedTarget) && (this.#focused = undefined), { signal: end.signal });
      return () => end.abort();
    });
    // The row that had the focus may be another one now: no key must act on what nobody has chosen.
    $effect(() => {
      void this.#seen;
      const [element, focused] = [scroller(), document.activeElement];
      if (this.#focused === undefined || !element) return;
      if (focused === document.body || (element.contains(focused) && indexOf(focused) !== this.#focused)) {
        this.#focused = undefined;
        element.focus({ preventScroll: true });
      }
    });
  }

  get first(): number {
    return this.#seen.first;
  }

  /** Behind the last. */
  get end(): number {
    return this.#seen.first + this.#seen.rows;
  }

  get totalPx(): number {
    return this.#virtualizer.current.getTotalSize();
  }

  /** The key of the element of a row: the same again for another row, when this one is out of view. */
  slot(index: number): number {
    return index % this.#seen.rows;
  }

  scrollTo(index: number): void {
    this.#virtualizer.current.scrollToIndex(index);
  }
}

function indexOf(target: EventTarget | null): string | undefined {
  return target instanceof Element ? target.closest<HTMLElement>("[data-index]")?.dataset["index"] : undefined;
}
