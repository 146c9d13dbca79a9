/** WebSocket close codes that a page may see, and what it is to do about each. The server's own stand in `src/wire/codes.rs`. */
export interface CloseMeaning {
  /** A short name, also the key of its translation. */
  name: "normal" | "away" | "protocol" | "lost" | "utf8" | "policy" | "tooBig" | "error" | "restart" | "busy" | "slow" | "noPong"
    | "codeExpired" | "codeTooMany" | "codeBadToken" | "codeBadRequest" | "codeNoToken" | "codeRevoked" | "codeForbidden" | "other";
  /** Whether to connect again by itself. After the others something must be mended first. */
  reconnect: boolean;
}

const MEANINGS: Record<number, CloseMeaning> = {
  1000: { name: "normal", reconnect: true },
  1001: { name: "away", reconnect: true },
  1002: { name: "protocol", reconnect: false },
  1006: { name: "lost", reconnect: true },
  1007: { name: "utf8", reconnect: false },
  1008: { name: "policy", reconnect: false },
  1009: { name: "tooBig", reconnect: false },
  1011: { name: "error", reconnect: true },
  1012: { name: "restart", reconnect: true },
  1013: { name: "busy", reconnect: true },
  3005: { name: "codeExpired", reconnect: true },
  3008: { name: "slow", reconnect: true },
  3012: { name: "noPong", reconnect: true },
  3013: { name: "codeTooMany", reconnect: true },
  3500: { name: "codeBadToken", reconnect: false },
  3501: { name: "codeBadRequest", reconnect: false },
  3502: { name: "codeNoToken", reconnect: false },
  3503: { name: "codeRevoked", reconnect: false },
  3507: { name: "codeForbidden", reconnect: false },
};

/** Whether a close says that the log-in is no good any more: another one mends it. */
export const isLogIn = (code: number): boolean => code === 3500 || code === 3502 || code === 3503;

export function closeMeaning(code: number): CloseMeaning {
  return MEANINGS[code] ?? { name: "other", reconnect: true };
}

/** What a close says beside its name, as in `service restart; after_ms=250`. */
export function detailOf(reason: string, name: string): string | null {
  const found = reason.split("; ").find((part) => part.startsWith(`${name}=`));
  return found ? found.slice(name.length + 1) : null;
}
