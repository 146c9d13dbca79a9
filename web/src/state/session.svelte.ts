import { logIn, read, renew, token, write } from "../api";
import type { Me } from "../contract/api";

/** A token is renewed this long before it runs out, so that no stream is refused in between. */
const AHEAD_MS = 60_000;
/** Tabs that have one log-in do not renew it all at once. */
const SPREAD_MS = 30_000;

/** Who uses the page, and what he may do. The server decides; this only says beforehand what it would refuse. */
class Session {
  me = $state.raw<Me | null>(null);

  readonly canWrite = $derived(this.#may("write", ["manager", "admin"]));
  readonly canManage = $derived(this.#may("manage", ["admin"]));
  /** Known by name: there is something to log out of. */
  readonly isNamed = $derived(this.me !== null && this.me.subject !== "anonymous");

  #timer: ReturnType<typeof setTimeout> | null = null;

  async load(): Promise<void> {
    try {
      this.me = await read<Me>("/api/v1/auth/me");
      this.#renewInTime();
    } catch {
      this.me = null;
    }
  }

  async logIn(name: string, password: string): Promise<void> {
    await logIn(name, password);
    await this.load();
  }

  async logOut(): Promise<void> {
    // A log-out that does not reach the server still forgets the tokens here.
    await write("POST", "/api/v1/auth/logout").catch(() => undefined);
    token.set("");
    this.me = null;
    if (this.#timer) clearTimeout(this.#timer);
  }

  #may(scope: string, roles: string[]): boolean {
    if (!this.me) return false;
    const scopes = this.me.scopes?.split(/[\s,]+/);
    if (scopes) return scopes.includes(scope) || scopes.includes("admin");
    return roles.includes(this.me.role);
  }

  #renewInTime(): void {
    if (this.#timer) clearTimeout(this.#timer);
    if (!token.refresh) return;
    const delayMs = Math.max(5_000, token.expiresAtMs - Date.now() - AHEAD_MS - Math.random() * SPREAD_MS);
    this.#timer = setTimeout(() => void renew().then(() => this.#renewInTime()), delayMs);
  }
}

export const session = new Session();
