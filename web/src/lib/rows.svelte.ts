import { createVirtualizer, type SvelteVirtualizer } from "@tanstack/svelte-virtual";
import { untrack } from "svelte";
import { fromStore } from "svelte/store";

import { Slots } from "./slots";

export interface RowWindowOptions {
  count: () => number;
  heightPx: () => number;
  scroller: () => HTMLElement | undefined;
  /** Rows above and below those in view. */
  marginRows: number;
  /** The names of the rows from the window's first to its end. */
  keys: () => readonly string[];
}

/**
 * Which rows of a long list exist: those in view and some around them, as many as were ever needed. An element follows its
 * row to another place; that of a row that is gone or out of view becomes the one of a row that comes, so nothing is made
 * anew. Belongs to the component that makes it.
 */
export class RowWindow {
  readonly #virtualizer: { readonly current: SvelteVirtualizer<HTMLElement, HTMLElement> };
  #most = 0;
  /** The row that has the focus. */
  #focused: string | undefined;
  readonly #placed = new Slots();
  /** Which element each of the shown rows has. */
  readonly slots = $derived.by(() => this.#placed.of(this.options.keys()));
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
      element.addEventListener("focusin", ({ target }) => (this.#focused = this.#keyOf(target)), { signal: end.signal });
      element.addEventListener("focusout", ({ relatedTarget }) => relatedTarget instanceof Node && !element.contains(relatedTarget) && (this.#focused = undefined), { signal: end.signal });
      return () => end.abort();
    });
    $effect(() => {
      void this.slots;
      this.#settle();
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

  /** When rows have been drawn: no key must act on a row that nobody has chosen, because it took an element over. */
  #settle(): void {
    const [element, focused] = [this.options.scroller(), document.activeElement];
    if (this.#focused === undefined || !element) return;
    if (focused === document.body || (element.contains(focused) && this.#keyOf(focused) !== this.#focused)) {
      this.#focused = undefined;
      element.focus({ preventScroll: true });
    }
  }

  /** Of the row that an element is in. */
  #keyOf(target: EventTarget | null): string | undefined {
    const index = target instanceof Element ? target.closest<HTMLElement>("[data-index]")?.dataset["index"] : undefined;
    return index === undefined ? undefined : this.#placed.keys[Number(index) - this.first];
  }

  scrollTo(index: number): void {
    this.#virtualizer.current.scrollToIndex(index);
  }
}
