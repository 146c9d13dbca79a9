const OFF = "fanfare.keys";

/** Whether a key is meant for what is written in, and not for the page. */
export const isTyping = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && (/^(input|textarea|select)$/i.test(target.tagName) || target.isContentEditable) && !(target instanceof HTMLInputElement && /^(checkbox|radio|button|range)$/.test(target.type));

/** Single-key shortcuts can be switched off, for people who speak to their machine or hit keys by accident. */
class Keys {
  enabled = $state(true);

  start(): void {
    try {
      this.enabled = localStorage.getItem(OFF) !== "off";
    } catch {
      // As it comes.
    }
  }

  toggle(): void {
    this.enabled = !this.enabled;
    try {
      if (this.enabled) localStorage.removeItem(OFF);
      else localStorage.setItem(OFF, "off");
    } catch {
      // Not remembered then.
    }
  }

  /** Whether an event is one of the page's own single keys. */
  accepts(event: KeyboardEvent): boolean {
    return this.enabled && !event.ctrlKey && !event.metaKey && !event.altKey && !event.defaultPrevented && !isTyping(event.target) && !document.querySelector("dialog[open]");
  }
}

export const keys = new Keys();
