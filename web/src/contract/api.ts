// Generated from the server's contract by `npm run contract`; do not edit.

/** One channel's books on one shard, or on all. */
export interface Account {
  /** Publications that came from the broker while somebody was on the channel; of several shards, the one with most. */
  accepted: number;
  /** Stands for by a later message of the same key. */
  conflated: number;
  /** Handed to the kernel. */
  delivered: number;
  /** Given up, by reason. */
  dropped: Record<string, number>;
  /** Held back by the client's filter. */
  filtered: number;
  /** Those, times the connections that were on the channel. */
  offered: number;
  /** Waits in an outbox, or in a fold whose time has not come. */
  pending: number;
  /** Publications of the past that were offered to clients who came back. */
  recovered: number;
}

export interface Activity {
  items: ActivityRow[];
  step_s: number;
}

/** A step of time. */
export interface ActivityRow {
  /** Seconds since 1970 at the step's beginning. */
  at_s: number;
  errors: number;
  runs: number;
  /** Cells that a student came through for the first time ever, over all students. */
  solved: number;
  students: number;
}

export interface Adjustment {
  /** What to add; negative to take away. */
  delta: number;
}

/** An exact decimal with up to four places, as a number or as text. */
export type AmountIn = number | string;

/** A batch as stored. */
export interface Batch {
  batch_id: number;
  batch_type: string;
  created_at: string;
  error?: string | null;
  failed: number;
  finished_at?: string | null;
  processed: number;
  state: string;
  total: number;
  updated_at: string;
}

export type BatchType = "daily_matching" | "scoring" | "email_generation" | "cleanup";

/** `{batches, pagination}`. */
export interface Batches {
  batches: Batch[];
  pagination: Pagination;
}

/** Something that a user did with a job. */
export interface Behavior {
  action: string;
  at: string;
  id: number;
  job_id: number;
  user_id: number;
}

/** What a user did with a job. */
export type BehaviorAction = "view" | "click" | "save" | "apply" | "dismiss";

export interface Books {
  /** Whether offered + recovered = delivered + filtered + conflated + pending + dropped on every channel. */
  balanced: boolean;
  channels: Record<string, Line>;
}

export interface Bounce {
  email: string;
  reason?: string;
}

export type CellLine = CellTotals & ({
  duration_ms: Durations;
  /** Failed runs of all runs. */
  error_rate: number;
  /** Half of those who solved it took no longer, in seconds, from when their work on it began. */
  median_seconds_to_solve?: number | null;
  most_frequent_error?: FrequentError | null;
});

export interface CellTotals {
  cell_id: string;
  cell_index?: number | null;
  content?: string | null;
  errors: number;
  notebook: string;
  runs: number;
  /** Students of whom a run succeeded. */
  solved: number;
  students: number;
}

export type Day = "mon" | "tue" | "wed" | "thu" | "fri" | "sat" | "sun";

/** Work that is not tried any more, until an operator replays it. */
export interface DeadLetter {
  attempts: number;
  created_at: string;
  id: number;
  last_error?: string | null;
  payload: unknown;
  topic: string;
}

/** Why and by whom a price is changed; kept in the history. */
export interface Decision {
  change_reason?: string | null;
  changed_by?: string | null;
  notes?: string | null;
}

export interface Detailed {
  services: Record<string, ServiceHealth>;
  status: string;
  uptime_s: number;
  version: string;
}

export interface Durations {
  max?: number | null;
  mean?: number | null;
  median?: number | null;
  p95?: number | null;
}

/** A mail as lists show it; its text is one request away. */
export interface Email {
  attempts: number;
  batch_id: number;
  created_at: string;
  day: string;
  error?: string | null;
  id: number;
  recipient: string;
  sent_at?: string | null;
  state: string;
  subject: string;
  user_id: number;
}

/** `{emails, pagination}`. */
export interface Emails {
  emails: Email[];
  pagination: Pagination;
}

/** An event of a student's day. */
export interface EventLine {
  cell_id?: string | null;
  duration_ms?: number | null;
  error_message?: string | null;
  error_name?: string | null;
  event_id: string;
  event_time: string;
  event_type: string;
  execution_count?: number | null;
  notebook?: string | null;
  output?: string | null;
  /** What else the event held. */
  payload?: unknown;
  received_at: string;
  session_id?: string | null;
  /** Of an execution. */
  status?: string | null;
}

/** An event that was not taken, by its place in the batch. */
export interface EventRejected {
  field: string;
  index: number;
  reason: string;
}

export interface EventsTaken {
  message: string;
  processed_count: number;
  rejected?: EventRejected[];
}

export interface Experience {
  /** Years by occupation. */
  years?: Record<string, number>;
}

export type Explained = Fate & {
  channel: string;
  client: string;
  offset: number;
};

/** The answer, for operators. */
export interface Fate {
  detail: string;
  /** One of the words of docs/PROTOCOL.md. */
  fate: string;
}

export interface Fault {
  code: number;
  message: string;
}

export interface FrequentError {
  count: number;
  name: string;
}

/** A call for help. */
export interface HelpLine {
  class?: string | null;
  ended_at?: string | null;
  id: number;
  last_at: string;
  name?: string | null;
  notebook?: string | null;
  started_at: string;
  team?: string | null;
  user_id: string;
}

/** An import that goes on in the background. */
export interface ImportAccepted {
  state: string;
  status_url: string;
  task_id: string;
  total: number;
}

/** An import in the background. */
export interface ImportTask {
  created_at: string;
  failed: number;
  kind: string;
  processed: number;
  state: string;
  succeeded: number;
  task_id: string;
  total: number;
  updated_at: string;
}

/** What came of an import. */
export interface Imported {
  errors: RowRefusal[];
  failed: number;
  processed: number;
  succeeded: number;
  total: number;
}

/** An item as it is stored, with what is derived from it. */
export interface Item {
  /** What can be sold: stock less reservations, never below 0. */
  available_quantity: number;
  category?: string | null;
  cost_price: Money;
  created_at: string;
  description?: string | null;
  dimensions?: string | null;
  id: number;
  is_active: boolean;
  is_low_stock: boolean;
  is_trackable: boolean;
  max_stock_level: number;
  min_stock_level: number;
  name: string;
  reserved_quantity: number;
  sku: string;
  stock_quantity: number;
  updated_at: string;
  weight?: Money | null;
}

/** The body of PUT and PATCH: any subset of the fields. */
export interface ItemChange {
  category?: string | null;
  cost_price?: AmountIn;
  description?: string | null;
  dimensions?: string | null;
  is_active?: boolean;
  is_trackable?: boolean;
  max_stock_level?: number;
  min_stock_level?: number;
  name?: string;
  reserved_quantity?: number;
  sku?: string;
  stock_quantity?: number;
  weight?: AmountIn | null;
}

/** A job as it is stored. */
export interface Job {
  application_url?: string | null;
  basic_score: number;
  city?: string | null;
  combined_score: number;
  company_name: string;
  created_at: string;
  description: string;
  expires_at?: string | null;
  external_id: string;
  features: string[];
  id: number;
  latitude?: number | null;
  location?: string | null;
  longitude?: number | null;
  nearest_station?: string | null;
  needs_categories: string[];
  occupation_category: string;
  personalized_score: number;
  prefecture?: string | null;
  salary_max?: number | null;
  /** Yen. */
  salary_min?: number | null;
  seo_score: number;
  status: string;
  title: string;
  updated_at: string;
  url?: string | null;
  work_days?: string | null;
  work_hours?: string | null;
}

/** The body of PUT and PATCH: any subset of the fields. */
export interface JobChange {
  application_url?: string | null;
  city?: string | null;
  company_name?: string;
  description?: string;
  expires_at?: string | null;
  external_id?: string;
  features?: string[];
  latitude?: number | null;
  location?: string | null;
  longitude?: number | null;
  nearest_station?: string | null;
  needs_categories?: string[];
  occupation_category?: Occupation;
  prefecture?: string | null;
  salary_max?: number | null;
  salary_min?: number | null;
  status?: JobStatus;
  title?: string;
  url?: string | null;
  work_days?: string | null;
  work_hours?: string | null;
}

/** The body of a search: everything of the list, and places. */
export interface JobSearch {
  city?: string | null;
  keyword?: string | null;
  latitude?: number | null;
  limit?: number | null;
  location?: string | null;
  longitude?: number | null;
  needs_categories?: string[];
  occupation_categories?: Occupation[];
  page?: number | null;
  prefecture?: string | null;
  radius_km?: number | null;
  salary_max?: number | null;
  salary_min?: number | null;
  sort_by?: JobSort | null;
  sort_order?: SortOrder | null;
  station?: string | null;
  status?: JobStatus | null;
}

export type JobSort = "id" | "title" | "company_name" | "salary_min" | "salary_max" | "basic_score" | "seo_score" | "personalized_score" | "combined_score" | "created_at" | "updated_at" | "expires_at" | "distance";

export type JobStatus = "draft" | "active" | "paused" | "expired" | "deleted";

/** `{jobs, pagination}`. */
export interface Jobs {
  jobs: Job[];
  pagination: Pagination;
}

export type Language = "ja" | "en";

export interface Letters {
  items: DeadLetter[];
  /** What to give as `after` for more; absent at the end. */
  next?: number | null;
}

export type Line = Account & {
  imbalance: number;
};

export interface Liveness {
  status: string;
  uptime_s: number;
  version: string;
}

/** Who wants in. */
export interface LogIn {
  name: string;
  password: string;
}

export interface MailPreview {
  html: string;
  subject: string;
  text: string;
  to: string;
}

/** Students by cells of one notebook. */
export interface Matrix {
  cells: MatrixCell[];
  items: MatrixLine[];
  notebook: string;
  pagination: Pagination;
}

export interface MatrixCell {
  cell_id: string;
  cell_index?: number | null;
}

export interface MatrixEntry {
  errors: number;
  runs: number;
  solved_at?: string | null;
  status: string;
}

export interface MatrixLine {
  /** In the order of the cells; null: never run. */
  cells: (MatrixEntry | null)[];
  name?: string | null;
  solved: number;
  user_id: string;
}

export interface Me {
  role: string;
  scopes?: string | null;
  subject: string;
}

export type Money = number;

export interface NewBehavior {
  action: BehaviorAction;
  at?: string | null;
  job_id: number;
}

/** The body of a create, and a whole item before it is stored. */
export interface NewItem {
  category?: string | null;
  cost_price?: AmountIn;
  description?: string | null;
  dimensions?: string | null;
  is_active?: boolean;
  is_trackable?: boolean;
  max_stock_level?: number;
  min_stock_level?: number;
  name: string;
  reserved_quantity?: number;
  sku: string;
  stock_quantity?: number;
  weight?: AmountIn | null;
}

/** The body of a create, and a whole job before it is stored. */
export interface NewJob {
  application_url?: string | null;
  city?: string | null;
  company_name: string;
  description?: string;
  expires_at?: string | null;
  /** What the source calls it; made here when it is not given. */
  external_id?: string | null;
  features?: string[];
  /** Degrees; found from the station or the prefecture when not given. */
  latitude?: number | null;
  location?: string | null;
  longitude?: number | null;
  nearest_station?: string | null;
  needs_categories?: string[];
  occupation_category: Occupation;
  prefecture?: string | null;
  salary_max?: number | null;
  salary_min?: number | null;
  status?: JobStatus;
  title: string;
  url?: string | null;
  work_days?: string | null;
  work_hours?: string | null;
}

/** As it stands in JSON: flat. */
export interface NewPrice {
  change_reason?: string | null;
  changed_by?: string | null;
  cost_price?: AmountIn | null;
  currency?: string;
  discount_price?: AmountIn | null;
  effective_from?: string | null;
  effective_until?: string | null;
  inventory_id: number;
  is_active?: boolean;
  notes?: string | null;
  requires_approval?: boolean;
  selling_price: AmountIn;
}

/** The body of a create, and a whole user before it is stored. */
export interface NewUser {
  city?: string | null;
  email: string;
  email_opt_in?: boolean;
  /** What the source calls the user; made here when it is not given. */
  external_id?: string | null;
  /** The language of mails. */
  language?: Language;
  latitude?: number | null;
  longitude?: number | null;
  name?: string;
  /** Home. */
  prefecture?: string | null;
  profile?: Profile;
  status?: UserStatus;
}

/** What kind of work it is; the contract's list. */
export type Occupation = "restaurant" | "retail" | "office" | "logistics" | "education" | "medical" | "construction" | "manufacturing" | "it" | "service" | "creative" | "other";

export type Overview = PageStudentLine & {
  summary: Summary;
};

/** `{items, pagination}`. */
export interface PageBehavior {
  items: {
    action: string;
    at: string;
    id: number;
    job_id: number;
    user_id: number;
  }[];
  pagination: Pagination;
}

/** `{items, pagination}`. */
export interface PageCellLine {
  items: (CellTotals & ({
    duration_ms: Durations;
    /** Failed runs of all runs. */
    error_rate: number;
    /** Half of those who solved it took no longer, in seconds, from when their work on it began. */
    median_seconds_to_solve?: number | null;
    most_frequent_error?: FrequentError | null;
  }))[];
  pagination: Pagination;
}

/** `{items, pagination}`. */
export interface PageEventLine {
  items: ({
    cell_id?: string | null;
    duration_ms?: number | null;
    error_message?: string | null;
    error_name?: string | null;
    event_id: string;
    event_time: string;
    event_type: string;
    execution_count?: number | null;
    notebook?: string | null;
    output?: string | null;
    /** What else the event held. */
    payload?: unknown;
    received_at: string;
    session_id?: string | null;
    /** Of an execution. */
    status?: string | null;
  })[];
  pagination: Pagination;
}

/** `{items, pagination}`. */
export interface PageHelpLine {
  items: ({
    class?: string | null;
    ended_at?: string | null;
    id: number;
    last_at: string;
    name?: string | null;
    notebook?: string | null;
    started_at: string;
    team?: string | null;
    user_id: string;
  })[];
  pagination: Pagination;
}

/** `{items, pagination}`. */
export interface PageItem {
  items: ({
    /** What can be sold: stock less reservations, never below 0. */
    available_quantity: number;
    category?: string | null;
    cost_price: Money;
    created_at: string;
    description?: string | null;
    dimensions?: string | null;
    id: number;
    is_active: boolean;
    is_low_stock: boolean;
    is_trackable: boolean;
    max_stock_level: number;
    min_stock_level: number;
    name: string;
    reserved_quantity: number;
    sku: string;
    stock_quantity: number;
    updated_at: string;
    weight?: Money | null;
  })[];
  pagination: Pagination;
}

/** `{items, pagination}`. */
export interface PagePrice {
  items: ({
    category?: string | null;
    cost_price: Money;
    created_at: string;
    currency: string;
    discount_price?: Money | null;
    effective_from?: string | null;
    effective_until?: string | null;
    id: number;
    inventory_id: number;
    is_active: boolean;
    margin_percent?: Money | null;
    markup_percent?: Money | null;
    name: string;
    pending_price?: Money | null;
    requires_approval: boolean;
    selling_price: Money;
    sku: string;
    updated_at: string;
  })[];
  pagination: Pagination;
}

/** `{items, pagination}`. */
export interface PagePriceHistory {
  items: ({
    change_reason?: string | null;
    /** created, updated, approved or deleted. */
    change_type: string;
    changed_at: string;
    changed_by?: string | null;
    id: number;
    inventory_id: number;
    new_price?: Money | null;
    notes?: string | null;
    old_price?: Money | null;
    price_change_amount?: Money | null;
    price_change_percent?: Money | null;
  })[];
  pagination: Pagination;
}

/** `{items, pagination}`. */
export interface PageStudentLine {
  items: ({
    cell_id?: string | null;
    cell_index?: number | null;
    class?: string | null;
    email?: string | null;
    errors: number;
    errors_in_row: number;
    is_asking: boolean;
    is_failing: boolean;
    is_idle: boolean;
    is_stuck: boolean;
    last_event_at: string;
    name?: string | null;
    notebook?: string | null;
    runs: number;
    session_id?: string | null;
    /** Cells of code that succeeded at least once. */
    solved: number;
    team?: string | null;
    user_id: string;
  })[];
  pagination: Pagination;
}

export interface Pagination {
  has_next: boolean;
  has_prev: boolean;
  limit: number;
  /** Where the next page begins, for `cursor`; absent on the last page and where a list has no cursors. */
  next_cursor?: string | null;
  page: number;
  total_items: number;
  total_pages: number;
}

export interface Pair {
  job_id: number;
  user_id: number;
}

/** A price with the item that it is for. */
export interface Price {
  category?: string | null;
  cost_price: Money;
  created_at: string;
  currency: string;
  discount_price?: Money | null;
  effective_from?: string | null;
  effective_until?: string | null;
  id: number;
  inventory_id: number;
  is_active: boolean;
  margin_percent?: Money | null;
  markup_percent?: Money | null;
  name: string;
  pending_price?: Money | null;
  requires_approval: boolean;
  selling_price: Money;
  sku: string;
  updated_at: string;
}

export interface PriceChange {
  change_reason?: string | null;
  changed_by?: string | null;
  cost_price?: AmountIn;
  currency?: string;
  discount_price?: AmountIn | null;
  effective_from?: string | null;
  effective_until?: string | null;
  is_active?: boolean;
  notes?: string | null;
  requires_approval?: boolean;
  selling_price?: AmountIn;
}

export interface PriceHistory {
  change_reason?: string | null;
  /** created, updated, approved or deleted. */
  change_type: string;
  changed_at: string;
  changed_by?: string | null;
  id: number;
  inventory_id: number;
  new_price?: Money | null;
  notes?: string | null;
  old_price?: Money | null;
  price_change_amount?: Money | null;
  price_change_percent?: Money | null;
}

/** RFC 9457 problem details. */
export interface Problem {
  detail: string;
  errors?: {
    field: string;
    message: string;
  }[];
  status: number;
  title: string;
  /** Stable, for programs */
  type: string;
}

export interface Profile {
  experience?: Experience;
  personal_info?: Record<string, unknown>;
  work_preferences?: WorkPreferences;
}

/** What a trusted back end publishes. */
export interface PublishBody {
  /** The same in base64, instead of `data`. */
  b64data?: string | null;
  channel: string;
  /** Any JSON value; on a feed's channel one of its messages, see /asyncapi.json. Subscribers get its very bytes. */
  data?: unknown;
  /** Taken, and without effect: patches are made for all who ask for them. */
  delta?: boolean;
  /** The publisher's own name for this message: published once, however often it is sent. */
  idempotency_key?: string | null;
  /** Whoever listens now gets it, and nobody else; it has no position, tags, key or version. */
  skip_history?: boolean;
  /** Names and values for filters whose value does not stand in the data. */
  tags?: Record<string, string>;
  /** Which of several states of one thing it is: after a newer one it is not published. 0: none. */
  version?: number;
  /** Versions of another name do not count. */
  version_epoch?: string;
}

export interface Published {
  result: PublishedAt;
}

export interface PublishedAt {
  epoch: string;
  offset: number;
}

/** The best jobs of one user from one batch. */
export interface Recommendation {
  batch_id: number;
  best_score: number;
  created_at: string;
  match_count: number;
  matches: Record<string, unknown>[];
  user_id: number;
}

export interface Refresh {
  refresh_token: string;
}

/** One refused point, or what the store said of points that it did not name. */
export interface RefusedPoint {
  /** When it was refused. */
  at: string;
  /** In line protocol; `None` when the store did not say which points they were. */
  line?: string | null;
  /** How many points this stands for. */
  points: number;
  /** What the store said. */
  reason: string;
}

export interface RefusedPoints {
  items: RefusedPoint[];
}

/** Whose tokens are to be void. */
export interface Revoke {
  subject: string;
}

/** Why a row is not in. */
export interface RowRefusal {
  field: string;
  line: number;
  reason: string;
}

export interface Series {
  field: string;
  from: string;
  measurement: string;
  points: SeriesStep[];
  step_ms: number;
  tags: Record<string, string>;
  to: string;
}

/** One step: what was written from its begin on, until the next one begins. */
export interface SeriesStep {
  at: string;
  avg: number;
  count: number;
  /** The latest value of the step. */
  last: number;
  max: number;
  min: number;
}

/** What one service answered. */
export interface ServiceHealth {
  detail: string;
  latency_ms: number;
  mandatory: boolean;
  status: ServiceState;
}

export type ServiceState = "up" | "down";

/** From 5, 11, 17 and 22 o'clock on. */
export type Slot = "morning" | "day" | "evening" | "night";

export type SortOrder = "asc" | "desc";

/** A student: where, how far, and the signals. */
export interface StudentLine {
  cell_id?: string | null;
  cell_index?: number | null;
  class?: string | null;
  email?: string | null;
  errors: number;
  errors_in_row: number;
  is_asking: boolean;
  is_failing: boolean;
  is_idle: boolean;
  is_stuck: boolean;
  last_event_at: string;
  name?: string | null;
  notebook?: string | null;
  runs: number;
  session_id?: string | null;
  /** Cells of code that succeeded at least once. */
  solved: number;
  team?: string | null;
  user_id: string;
}

export interface Summary {
  active: number;
  failing: number;
  help: number;
  idle: number;
  stuck: number;
  students: number;
}

/** A task as its poll shows it. */
export type TaskStatus = ImportTask & {
  errors: RowRefusal[];
};

export interface Tokens {
  access_token: string;
  expires_in: number;
  refresh_token: string;
  refresh_until: string;
  role: string;
  subject: string;
  token_type: string;
}

export interface Trigger {
  batch_type: BatchType;
}

/** A user as stored, with the profile. The unsubscribe token stays inside. */
export interface User {
  bounced_at?: string | null;
  city?: string | null;
  created_at: string;
  email: string;
  email_opt_in: boolean;
  experience: Experience;
  external_id: string;
  id: number;
  language: string;
  latitude?: number | null;
  longitude?: number | null;
  name: string;
  personal_info: Record<string, unknown>;
  prefecture?: string | null;
  status: string;
  updated_at: string;
  work_preferences: WorkPreferences;
}

/** The body of PUT and PATCH: any subset of the fields; a profile is replaced as a whole. */
export interface UserChange {
  city?: string | null;
  email?: string;
  email_opt_in?: boolean;
  external_id?: string;
  language?: Language;
  latitude?: number | null;
  longitude?: number | null;
  name?: string;
  prefecture?: string | null;
  profile?: Profile;
  status?: UserStatus;
}

export type UserStatus = "active" | "inactive";

/** `{users, pagination}`. */
export interface Users {
  pagination: Pagination;
  users: User[];
}

export interface Watching {
  channel: string;
  /** At most `stream.presence.max_listed`. */
  clients: Record<string, unknown>[];
  num_clients: number;
  num_users: number;
}

/** What the user is looking for; empty says nothing. */
export interface WorkPreferences {
  cities?: string[];
  needs_categories?: string[];
  occupation_categories?: Occupation[];
  /** Where; the home's prefecture when empty. */
  prefectures?: string[];
  /** Yen an hour; from 50,000 on it is taken for yen a month. */
  salary_min?: number | null;
  time_slots?: Slot[];
  work_days?: Day[];
}

/** Every operation by its name: where it is, and what a success answers. */
export interface Operations {
  accounts_log_in: { method: "POST"; path: "/api/v1/auth/login"; answer: Tokens };
  accounts_log_out: { method: "POST"; path: "/api/v1/auth/logout"; answer: undefined };
  accounts_me: { method: "GET"; path: "/api/v1/auth/me"; answer: Me };
  accounts_refresh: { method: "POST"; path: "/api/v1/auth/refresh"; answer: Tokens };
  accounts_revoke: { method: "POST"; path: "/api/v1/auth/revoke"; answer: undefined };
  batches_cancel: { method: "POST"; path: "/api/v2/batch/cancel/{id}"; answer: Batch };
  batches_cancel_v1: { method: "POST"; path: "/api/v1/batch/cancel/{id}"; answer: Batch };
  batches_get: { method: "GET"; path: "/api/v2/batch/status/{id}"; answer: Batch };
  batches_get_v1: { method: "GET"; path: "/api/v1/batch/status/{id}"; answer: Batch };
  batches_list: { method: "GET"; path: "/api/v2/batch/status"; answer: Batches };
  batches_list_v1: { method: "GET"; path: "/api/v1/batch/status"; answer: Batches };
  batches_retry: { method: "POST"; path: "/api/v2/batch/retry/{id}"; answer: Batch };
  batches_retry_v1: { method: "POST"; path: "/api/v1/batch/retry/{id}"; answer: Batch };
  batches_task: { method: "GET"; path: "/api/v1/tasks/{id}/status"; answer: TaskStatus };
  batches_trigger: { method: "POST"; path: "/api/v2/batch/trigger"; answer: Batch };
  batches_trigger_v1: { method: "POST"; path: "/api/v1/batch/trigger"; answer: Batch };
  channels_batch: { method: "POST"; path: "/api/batch"; answer: {
    replies: Record<string, unknown>[];
  } };
  channels_call: { method: "POST"; path: "/api/{method}"; answer: {
    error?: Fault;
    result?: Record<string, unknown>;
  } };
  command: { method: "POST"; path: "/emulation"; answer: undefined };
  connect: { method: "GET"; path: "/connection/websocket"; answer: undefined };
  connect_one_way: { method: "GET"; path: "/connection/uni_websocket"; answer: undefined };
  contract_asyncapi: { method: "GET"; path: "/asyncapi.json"; answer: Record<string, unknown> };
  contract_docs: { method: "GET"; path: "/docs"; answer: undefined };
  contract_docs_file: { method: "GET"; path: "/docs/{file}"; answer: undefined };
  contract_openapi: { method: "GET"; path: "/openapi.json"; answer: Record<string, unknown> };
  events_general: { method: "GET"; path: "/sse"; answer: undefined };
  events_ingest: { method: "POST"; path: "/api/v1/events"; answer: EventsTaken };
  events_ingest_by_key: { method: "POST"; path: "/api/v1/events/{key}"; answer: EventsTaken };
  events_inventory: { method: "GET"; path: "/sse/inventory"; answer: undefined };
  events_match: { method: "GET"; path: "/sse/match"; answer: undefined };
  events_pioneer: { method: "POST"; path: "/api/v1/events/pioneer"; answer: EventsTaken };
  events_pioneer_by_key: { method: "POST"; path: "/api/v1/events/pioneer/{key}"; answer: EventsTaken };
  events_price: { method: "GET"; path: "/sse/price"; answer: undefined };
  events_progress: { method: "GET"; path: "/sse/progress"; answer: undefined };
  history_dead_letters: { method: "GET"; path: "/api/v1/series-dead-letters"; answer: RefusedPoints };
  history_range: { method: "GET"; path: "/api/v1/series/{measurement}"; answer: Series };
  inventory_adjust: { method: "POST"; path: "/api/v1/inventory/{id}/adjust"; answer: Item };
  inventory_create: { method: "POST"; path: "/api/v1/inventory"; answer: Item };
  inventory_delete: { method: "DELETE"; path: "/api/v1/inventory/{id}"; answer: undefined };
  inventory_get: { method: "GET"; path: "/api/v1/inventory/{id}"; answer: Item };
  inventory_list: { method: "GET"; path: "/api/v1/inventory"; answer: PageItem };
  inventory_update: { method: "PUT"; path: "/api/v1/inventory/{id}"; answer: Item };
  inventory_update_some: { method: "PATCH"; path: "/api/v1/inventory/{id}"; answer: Item };
  jobs_create: { method: "POST"; path: "/api/v2/jobs"; answer: Job };
  jobs_delete: { method: "DELETE"; path: "/api/v2/jobs/{id}"; answer: undefined };
  jobs_get: { method: "GET"; path: "/api/v2/jobs/{id}"; answer: Job };
  jobs_jobs: { method: "POST"; path: "/api/v2/jobs/bulk"; answer: Imported };
  jobs_list: { method: "GET"; path: "/api/v2/jobs"; answer: Jobs };
  jobs_scoring: { method: "POST"; path: "/api/v2/jobs/{id}/scoring"; answer: Job };
  jobs_search: { method: "POST"; path: "/api/v2/jobs/search"; answer: Jobs };
  jobs_update: { method: "PUT"; path: "/api/v2/jobs/{id}"; answer: Job };
  jobs_update_some: { method: "PATCH"; path: "/api/v2/jobs/{id}"; answer: Job };
  listen_general: { method: "GET"; path: "/ws"; answer: undefined };
  listen_inventory: { method: "GET"; path: "/ws/inventory"; answer: undefined };
  listen_match: { method: "GET"; path: "/ws/match"; answer: undefined };
  listen_price: { method: "GET"; path: "/ws/price"; answer: undefined };
  listen_progress: { method: "GET"; path: "/ws/progress"; answer: undefined };
  mails_bounce: { method: "POST"; path: "/api/v2/email/bounces"; answer: undefined };
  mails_list: { method: "GET"; path: "/api/v2/email"; answer: Emails };
  mails_preview: { method: "GET"; path: "/api/v2/email/preview/{id}"; answer: MailPreview };
  mails_unsubscribe: { method: "POST"; path: "/api/v2/email/unsubscribe"; answer: undefined };
  mails_unsubscribe_page: { method: "GET"; path: "/api/v2/email/unsubscribe"; answer: undefined };
  matches_of_user: { method: "GET"; path: "/api/v2/matching/users/{id}"; answer: Recommendation };
  matches_score: { method: "POST"; path: "/api/v2/matching/score"; answer: {
    basic_score: number;
    combined_score: number;
    components: Record<string, number>;
    job_id: number;
    personalized_score: number;
    seo_score: number;
    user_id: number;
  } };
  monitoring_batches: { method: "GET"; path: "/api/v2/monitoring/batches"; answer: {
    batches: {
      batch_type: string;
      batches: number;
      failed: number;
      processed: number;
      state: string;
    }[];
  } };
  monitoring_matches: { method: "GET"; path: "/api/v2/monitoring/matches"; answer: {
    batches: ({
      batch_id: number;
      matches: number;
      mean_best_score: number | null;
      users: number;
    })[];
    totals: {
      active_jobs: number;
      active_users: number;
      mails_bounced: number;
      mails_queued: number;
      mails_sent: number;
    };
  } };
  monitoring_queues: { method: "GET"; path: "/api/v2/monitoring/queues"; answer: {
    queues: {
      items: number;
      state: string;
      topic: string;
    }[];
  } };
  operators_discard: { method: "DELETE"; path: "/api/v1/dead-letters/{id}"; answer: undefined };
  operators_explain: { method: "GET"; path: "/api/v1/explain"; answer: Explained };
  operators_get: { method: "GET"; path: "/api/v1/dead-letters/{id}"; answer: DeadLetter };
  operators_health: { method: "GET"; path: "/health"; answer: Liveness };
  operators_health_detailed: { method: "GET"; path: "/health/detailed"; answer: Detailed };
  operators_ledger: { method: "GET"; path: "/api/v1/ledger"; answer: Books };
  operators_list: { method: "GET"; path: "/api/v1/dead-letters"; answer: Letters };
  operators_metrics: { method: "GET"; path: "/metrics"; answer: undefined };
  operators_presence: { method: "GET"; path: "/api/v1/presence"; answer: Watching };
  operators_ready: { method: "GET"; path: "/health/ready"; answer: {
    status: "healthy" | "degraded";
  } };
  operators_replay: { method: "POST"; path: "/api/v1/dead-letters/{id}/replay"; answer: undefined };
  operators_system_info: { method: "GET"; path: "/system-info"; answer: {
    broker: string;
    connections: number;
    database: Record<string, unknown>;
    shards: number;
    uptime_s: number;
    version: string;
  } };
  prices_approve: { method: "POST"; path: "/api/v1/prices/{id}/approve"; answer: Price };
  prices_create: { method: "POST"; path: "/api/v1/prices"; answer: Price };
  prices_delete: { method: "DELETE"; path: "/api/v1/prices/{id}"; answer: undefined };
  prices_get: { method: "GET"; path: "/api/v1/prices/{id}"; answer: Price };
  prices_history: { method: "GET"; path: "/api/v1/prices/history"; answer: PagePriceHistory };
  prices_history_of: { method: "GET"; path: "/api/v1/prices/{id}/history"; answer: PagePriceHistory };
  prices_list: { method: "GET"; path: "/api/v1/prices"; answer: PagePrice };
  prices_reject: { method: "POST"; path: "/api/v1/prices/{id}/reject"; answer: Price };
  prices_update: { method: "PUT"; path: "/api/v1/prices/{id}"; answer: Price };
  prices_update_some: { method: "PATCH"; path: "/api/v1/prices/{id}"; answer: Price };
  progress_activity: { method: "GET"; path: "/api/v1/progress/activity"; answer: Activity };
  progress_cells: { method: "GET"; path: "/api/v1/progress/cells"; answer: PageCellLine };
  progress_help: { method: "GET"; path: "/api/v1/progress/help"; answer: PageHelpLine };
  progress_matrix: { method: "GET"; path: "/api/v1/progress/matrix"; answer: Matrix };
  progress_overview: { method: "GET"; path: "/api/v1/progress/overview"; answer: Overview };
  progress_student: { method: "GET"; path: "/api/v1/progress/students/{user_id}"; answer: StudentLine };
  progress_timeline: { method: "GET"; path: "/api/v1/progress/students/{user_id}/timeline"; answer: PageEventLine };
  publishing_publish: { method: "POST"; path: "/api/publish"; answer: Published };
  stream: { method: "POST"; path: "/connection/http_stream"; answer: string };
  stream_events: { method: "GET"; path: "/connection/sse"; answer: undefined };
  stream_events_one_way: { method: "GET"; path: "/connection/uni_sse"; answer: undefined };
  stream_events_one_way_posted: { method: "POST"; path: "/connection/uni_sse"; answer: undefined };
  stream_events_posted: { method: "POST"; path: "/connection/sse"; answer: undefined };
  stream_one_way: { method: "POST"; path: "/connection/uni_http_stream"; answer: string };
  users_behavior: { method: "GET"; path: "/api/v2/users/{id}/behavior"; answer: PageBehavior };
  users_create: { method: "POST"; path: "/api/v2/users"; answer: User };
  users_delete: { method: "DELETE"; path: "/api/v2/users/{id}"; answer: undefined };
  users_get: { method: "GET"; path: "/api/v2/users/{id}"; answer: User };
  users_list: { method: "GET"; path: "/api/v2/users"; answer: Users };
  users_log: { method: "POST"; path: "/api/v2/users/{id}/behavior"; answer: Behavior };
  users_profile: { method: "GET"; path: "/api/v2/users/{id}/profile"; answer: Profile };
  users_set_profile: { method: "PUT"; path: "/api/v2/users/{id}/profile"; answer: Profile };
  users_update: { method: "PUT"; path: "/api/v2/users/{id}"; answer: User };
  users_update_some: { method: "PATCH"; path: "/api/v2/users/{id}"; answer: User };
  users_users: { method: "POST"; path: "/api/v2/users/bulk"; answer: Imported };
}
