import { browserClock } from "../stream/clock";
import { isBatchProgress, isStockAlert, messageType, type BatchProgress, type Message, type PriceAlert, type StockAlert } from "../stream/messages";
import { Paced } from "../stream/paced";
import { batch, learningEvent, matchNotice, mergeAlerts, notice, priceAlert, stockAlert, type Alert, type Batch, type LearningEvent, type MatchNotice, type Notice } from "./activity";
import { BEATS_MS } from "./beats.svelte";
import type { FeedName } from "./feeds";

const LENGTH = 100;
/** Lanes take in what is new at most this often: what moves faster cannot be read. */
const EVERY_MS = 1_000;

/** What is worth telling beside the rows: alerts, learning, matching, notices. */
export class Lanes {
  alerts = $state.raw<Alert[]>([]);
  learning = $state.raw<LearningEvent[]>([]);
  batches = $state.raw<Batch[]>([]);
  matches = $state.raw<MatchNotice[]>([]);
  notice = $state.raw<Notice | null>(null);

  #newAlerts: Alert[] = [];
  #newLearning: LearningEvent[] = [];
  #newMatches: MatchNotice[] = [];
  #newBatches: Batch[] = [];
  #paced = new Paced(EVERY_MS, () => this.#show(), browserClock, BEATS_MS.lanes);

  /** What comes by the hundred in one answer is shown with the lanes' beat, not with the answer. */
  take(feed: FeedName, message: Message, nowMs: number, atOnce = true): void {
    switch (feed) {
      case "inventory":
        if (!isStockAlert(message)) return;
        this.#newAlerts.push(stockAlert(message as unknown as StockAlert, nowMs));
        break;
      case "price":
        if (messageType(message) !== "price_alert") return;
        this.#newAlerts.push(priceAlert(message as unknown as PriceAlert, nowMs));
        break;
      case "progress":
        this.#newLearning.push(learningEvent(message, nowMs));
        break;
      case "match":
        if (isBatchProgress(message)) this.#newBatches.push(batch(message as unknown as BatchProgress, nowMs));
        else if (messageType(message) === "match_notification") this.#newMatches.push(matchNotice(message, nowMs));
        else return;
        break;
      case "general":
        this.notice = notice(message, nowMs) ?? this.notice;
        return;
    }
    if (atOnce) this.#paced.ask();
    else this.#paced.later();
  }

  #show(): void {
    if (this.#newAlerts.length > 0) this.alerts = mergeAlerts(this.#newAlerts, this.alerts, LENGTH);
    if (this.#newLearning.length > 0) this.learning = latest(this.#newLearning, this.learning);
    if (this.#newMatches.length > 0) this.matches = latest(this.#newMatches, this.matches);
    if (this.#newBatches.length > 0) this.batches = mergeBatches(this.batches, this.#newBatches);
    this.#newAlerts = [];
    this.#newLearning = [];
    this.#newMatches = [];
    this.#newBatches = [];
  }
}

function latest<T>(fresh: T[], known: T[]): T[] {
  return [...fresh.reverse(), ...known].slice(0, LENGTH);
}

/** Batches keep the places in which they were first seen; the oldest make room. */
function mergeBatches(known: Batch[], fresh: Batch[]): Batch[] {
  const byKey = new Map(known.map((entry) => [entry.key, entry]));
  for (const entry of fresh) byKey.set(entry.key, entry);
  return [...byKey.values()].slice(-4);
}
