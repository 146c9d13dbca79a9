// Generated from the server's contract by `npm run contract`; do not edit.

/** An exact decimal with up to four places, in the message's currency: a number, or from some publishers text; null where there is none. */
export type Amount = number | string | null;

/** A client that is there. */
export interface Client {
  client: string;
  connected_at: Time;
  node: string;
  user: string;
}

/** What this message stands for, for clients with max_hz or a backlog. */
export interface Fold {
  count: number;
  first_offset?: number;
  last?: Record<string, unknown>;
  last_offset?: number;
  max?: Record<string, unknown>;
  min?: Record<string, unknown>;
}

/** A job for the user. */
export interface Match {
  components?: Record<string, number>;
  job_id?: number;
  personalized_score?: number;
  score?: number;
  section?: string;
}

/** Where a channel stands. */
export interface Place {
  epoch: string;
  gap?: boolean;
  node_local?: boolean;
  offset: number;
  recovered?: number;
}

/** Where this message stands, for clients that asked for positions. */
export interface Position {
  channel: string;
  epoch: string;
  node_local?: boolean;
  offset: number;
}

/** A row's number, or another system's name for it. */
export type Reference = number | string;

export interface Signals {
  failing: boolean;
  help: boolean;
  idle: boolean;
  stuck: boolean;
}

/** ISO 8601 in UTC. */
export type Time = string;

/** How far a batch is. */
export interface BatchProgress {
  _fold?: Fold;
  _position?: Position;
  batch_id: Reference;
  batch_type: string;
  failed: number;
  message_type: "batch_progress";
  processed: number;
  state: "running" | "completed" | "failed" | "cancelled";
  timestamp?: Time;
  total: number;
}

/** Messages of the channel may be missing: load the state anew. */
export interface Gap {
  channel: string;
  message_type: "gap";
  reason: string;
  since?: string;
}

/** A change that the snapshot contains already. */
export interface Included {
  _position: Position;
  message_type: "included";
}

/** An item was written. */
export interface InventoryUpdate {
  _fold?: Fold;
  _position?: Position;
  action: "created" | "updated" | "deleted";
  available_quantity: number;
  is_low_stock: boolean;
  item_id: number;
  message_type: "inventory_update";
  name: string;
  sku: string;
  stock_quantity: number;
  timestamp: Time;
}

/** The backbone is back, and whatever was missed has been sent before this. */
export interface Live {
  channel: string;
  message_type: "live";
  silent_ms: number;
}

/** A user's new matches. */
export interface MatchNotification {
  _fold?: Fold;
  _position?: Position;
  batch_id?: Reference;
  match_count?: number;
  matches: Match[];
  message_type: "match_notification";
  timestamp?: Time;
  user_id: Reference;
}

/** Asks for a pong. */
export interface Ping {
  type: "ping";
}

/** The answer to a ping. */
export interface Pong {
  type: "pong";
}

/** Who is there, who comes and who leaves. */
export interface Presence {
  _position?: Position;
  action: "list" | "join" | "leave" | "many";
  channel: string;
  client?: string;
  clients?: Client[];
  connected_at?: Time;
  joined?: number;
  left?: number;
  message_type: "presence";
  node?: string;
  num_clients?: number;
  num_users?: number;
  reason?: string;
  timestamp?: Time;
  user?: string;
}

/** A large change, or one that waits for a decision or was decided. */
export interface PriceAlert {
  _fold?: Fold;
  _position?: Position;
  alert_type: "large_change" | "approval_required" | "approved" | "rejected";
  currency: string;
  inventory_id: number;
  message_type: "price_alert";
  new_price: Amount;
  old_price: Amount;
  price_change_amount: Amount;
  price_change_percent: Amount;
  price_id: number;
  sku: string;
  timestamp: Time;
}

/** A price in force has changed. */
export interface PriceUpdate {
  _fold?: Fold;
  _position?: Position;
  action: "created" | "updated" | "deleted";
  currency: string;
  inventory_id: number;
  message_type: "price_update";
  new_price: Amount;
  old_price: Amount;
  price_change_amount: Amount;
  price_change_percent: Amount;
  sku: string;
  timestamp: Time;
}

/** A learning event, with what a dashboard would otherwise have to ask for. */
export interface ProgressEvent {
  _fold?: Fold;
  _position?: Position;
  cellId?: string;
  cellIndex?: number;
  cellType?: string;
  class?: string;
  code?: string;
  emailAddress?: string;
  errorMessage?: string;
  errors?: number;
  errorsInRow?: number;
  eventId: string;
  eventTime: Time;
  eventType: string;
  executionCount?: number;
  /** Milliseconds. */
  executionDurationMs?: number;
  extra?: Record<string, unknown>;
  hasError?: boolean;
  message_type: "progress_event";
  metadata?: unknown;
  notebookPath?: string;
  receivedAt?: Time;
  result?: string;
  runs?: number;
  sessionId?: string;
  signals?: Signals;
  solved?: boolean;
  status?: "success" | "error";
  teamName?: string;
  userId: string;
  userName?: string;
}

/** A signal has come on or gone off. */
export interface ProgressSignal {
  _fold?: Fold;
  _position?: Position;
  active: boolean;
  cellId?: string | null;
  cellIndex?: number | null;
  class?: string | null;
  errorsInRow?: number;
  message_type: "progress_signal";
  notebookPath?: string | null;
  signal: "stuck" | "failing" | "help" | "idle";
  teamName?: string | null;
  timestamp: Time;
  userId: string;
  userName?: string | null;
}

/** The server ends: come back after just that time. */
export interface Reconnect {
  after_ms: number;
  message_type: "reconnect";
  since: string;
}

/** Rows of the feed, before anything else. */
export interface Snapshot {
  last: boolean;
  message_type: "snapshot";
  rows: Record<string, unknown>[];
  since: string;
}

/** Nothing has come from the backbone for a while. */
export interface Stale {
  channel: string;
  message_type: "stale";
  silent_ms: number;
}

/** An active, tracked item is low. */
export interface StockAlert {
  _fold?: Fold;
  _position?: Position;
  alert_level: "low" | "out";
  current_stock: number;
  item_id: number;
  message_type: "stock_alert";
  min_level: number;
  sku: string;
  timestamp: Time;
}

/** The first message of a client that asked for positions. */
export interface Subscribed {
  channels: Record<string, Place>;
  client: string;
  feed: string;
  message_type: "subscribed";
  /** What to resume from. */
  since: string;
}

/** A word from whoever runs the system. */
export interface SystemNotification {
  _fold?: Fold;
  _position?: Position;
  level?: string;
  message: string;
  message_type: "system_notification";
  timestamp?: Time;
}

/** Every feed: where it is, and what its clients hear. */
export interface Feeds {
  general: { path: "/ws"; message: Gap | Included | Live | Pong | Presence | Reconnect | Snapshot | Stale | Subscribed | SystemNotification };
  inventory: { path: "/ws/inventory"; message: Gap | Included | InventoryUpdate | Live | Pong | Presence | Reconnect | Snapshot | Stale | StockAlert | Subscribed };
  match: { path: "/ws/match"; message: BatchProgress | Gap | Included | Live | MatchNotification | Pong | Presence | Reconnect | Snapshot | Stale | Subscribed };
  price: { path: "/ws/price"; message: Gap | Included | Live | Pong | Presence | PriceAlert | PriceUpdate | Reconnect | Snapshot | Stale | Subscribed };
  progress: { path: "/ws/progress"; message: Gap | Included | Live | Pong | Presence | ProgressEvent | ProgressSignal | Reconnect | Snapshot | Stale | Subscribed };
}

export type AnyMessage = BatchProgress | Gap | Included | InventoryUpdate | Live | MatchNotification | Pong | Presence | PriceAlert | PriceUpdate | ProgressEvent | ProgressSignal | Reconnect | Snapshot | Stale | StockAlert | Subscribed | SystemNotification;
