const en = {
  inventory: "Inventory", prices: "Prices", alerts: "Alerts", progress: "Learning progress", match: "Matching", general: "System",
  idle: "Stopped", connecting: "Connecting", live: "Live", stale: "Catching up", waiting: "Reconnecting", offline: "Offline", refused: "Closed",
  allLive: "All feeds live", someLive: "{live} of {all} feeds live", perSecond: "msg/s", retryIn: "Next try in {n} s", retryNow: "Try now",
  silent: "Silent", silentFor: "Nothing new for {n} s, may be old", rowsNow: "Loading the rows", gapNow: "Messages are missing, loading the rows anew", slotIn: "Back in {n} s, as the server asked",
  recovered: "{n} of them were sent while this page was away", gaps: "Gaps: {n}", gapsHint: "Messages were lost {ago}. The rows have been loaded anew; other messages are gone", closeCode: "Code {code}: {meaning}", neverOpened: "No connection to the server",
  normal: "closed by the server", away: "server going away", protocol: "protocol error", lost: "connection lost", utf8: "invalid text", policy: "not allowed",
  tooBig: "message too big", error: "server error", restart: "server restarting", busy: "server busy", slow: "this page read too slowly", noPong: "no answer to a ping", other: "closed",
  messages: "{n} messages", lastAgo: "last {ago}", noneYet: "nothing yet", feeds: "Feeds", skip: "Skip to inventory",
  sku: "SKU", name: "Name", category: "Category", stock: "Stock", available: "Available", reserved: "Reserved", status: "Status", updated: "Updated", adjust: "Adjust",
  ok: "In stock", low: "Low", out: "Out", inactive: "Inactive", all: "All", search: "Search SKU, name, category", searchHint: "Press / to search",
  noHits: "Nothing matches “{q}”.", noFiltered: "No item in this state. That is good news.", clear: "Clear", rows: "{n} items", rowsOf: "{n} of {all} items", loading: "Loading…",
  minus: "Take one {sku} out of stock", plus: "Add one {sku} to stock", rowHelp: "Arrow keys move, plus and minus adjust the stock.",
  adjustFailed: "{sku} not adjusted: {why}", networkError: "the server did not answer", dismiss: "Dismiss",
  price: "Price", change: "Change", margin: "Margin", trend: "Trend", approval: "Awaits approval", approvalShort: "Approval", discounted: "Discount",
  noPrices: "No prices yet. Set one with POST /api/v1/prices.", stockLow: "Low stock", stockOut: "Out of stock", priceAlert: "Price change", left: "{n} left · minimum {min}", leftOnly: "{n} left",
  noAlerts: "No alerts since this page was opened.", lowNow: "{low} low and {out} out right now", newAlerts: "{n} new alerts, the latest: {text}",
  noProgress: "Waiting for the first learning event.", noMatch: "Waiting for the first batch or match.", cell: "cell {n}", executed: "ran", failed: "failed", opened: "opened", saved: "saved", help: "asks for help", helpEnd: "no longer asks for help",
  newMatches: "{n} new matches", errors: "{n} failed", batch: "Batch", unknownUser: "someone", queued: "queued", running: "running", completed: "completed", done: "completed", pending: "pending", processing: "running", cancelled: "cancelled",
  emptyTitle: "Nothing in stock yet", emptyText: "Create the first item from a terminal. It appears here by itself:", emptyDemo: "Or watch a day of synthetic shop traffic:", copy: "Copy", copied: "Copied",
  authTitle: "This server asks for a token", authText: "Make one on the server, then paste it here, or open this page with #token=… at the end of its address:", authLabel: "Token", authButton: "Connect", authKept: "Kept in this tab only.",
  themeAuto: "Theme: as the system", themeLight: "Theme: light", themeDark: "Theme: dark", language: "日本語で表示", footer: "Real-time streaming server",
} as const;

export type Phrase = keyof typeof en;
export type Language = "en" | "ja";

const ja: Record<Phrase, string> = {
  inventory: "在庫", prices: "価格", alerts: "アラート", progress: "学習の進捗", match: "マッチング", general: "システム",
  idle: "停止中", connecting: "接続中", live: "ライブ", stale: "同期中", waiting: "再接続待ち", offline: "オフライン", refused: "切断",
  allLive: "全フィード接続中", someLive: "{all} 件中 {live} 件が接続中", perSecond: "件/秒", retryIn: "{n} 秒後に再試行", retryNow: "今すぐ再試行",
  silent: "配信途絶", silentFor: "{n} 秒前から配信なし。古い可能性あり", rowsNow: "一覧を読み込んでいます", gapNow: "欠落あり。一覧を読み込み直しています", slotIn: "{n} 秒後に再接続（サーバー指定）",
  recovered: "うち {n} 件は切断中に送られたものです", gaps: "欠落 {n} 回", gapsHint: "{ago}にメッセージが失われました。一覧は読み込み直しましたが、ほかのメッセージは戻りません", closeCode: "コード {code}: {meaning}", neverOpened: "サーバーに接続できません",
  normal: "サーバーが切断", away: "サーバー停止", protocol: "プロトコルエラー", lost: "接続が切れました", utf8: "不正な文字列", policy: "許可されていません",
  tooBig: "メッセージが大きすぎます", error: "サーバーエラー", restart: "サーバー再起動中", busy: "サーバー混雑中", slow: "受信が追いつきません", noPong: "ping に応答なし", other: "切断",
  messages: "{n} 件受信", lastAgo: "最新 {ago}", noneYet: "未受信", feeds: "フィード", skip: "在庫一覧へ移動",
  sku: "SKU", name: "商品名", category: "カテゴリ", stock: "在庫数", available: "引当可能", reserved: "引当済", status: "状態", updated: "更新", adjust: "増減",
  ok: "在庫あり", low: "残少", out: "在庫切れ", inactive: "停止中", all: "すべて", search: "SKU・商品名・カテゴリで検索", searchHint: "/ キーで検索",
  noHits: "「{q}」に一致する商品はありません。", noFiltered: "この状態の商品はありません。", clear: "解除", rows: "{n} 品目", rowsOf: "{all} 品目中 {n} 件", loading: "読み込み中…",
  minus: "{sku} の在庫を 1 減らす", plus: "{sku} の在庫を 1 増やす", rowHelp: "矢印キーで移動、プラスとマイナスで在庫を増減します。",
  adjustFailed: "{sku} を変更できません: {why}", networkError: "サーバーが応答しません", dismiss: "閉じる",
  price: "価格", change: "変動", margin: "利益率", trend: "推移", approval: "承認待ち", approvalShort: "承認待ち", discounted: "割引",
  noPrices: "価格はまだありません。POST /api/v1/prices で登録できます。", stockLow: "在庫残少", stockOut: "在庫切れ", priceAlert: "価格変動", left: "残り {n} · 下限 {min}", leftOnly: "残り {n}",
  noAlerts: "このページを開いてからのアラートはありません。", lowNow: "現在 残少 {low} 件、在庫切れ {out} 件", newAlerts: "新しいアラート {n} 件。最新: {text}",
  noProgress: "最初の学習イベントを待っています。", noMatch: "最初のバッチまたはマッチを待っています。", cell: "セル {n}", executed: "実行", failed: "エラー", opened: "開きました", saved: "保存", help: "ヘルプ要請", helpEnd: "ヘルプ終了",
  newMatches: "新しいマッチ {n} 件", errors: "失敗 {n} 件", batch: "バッチ", unknownUser: "不明", queued: "待機中", running: "実行中", completed: "完了", done: "完了", pending: "待機中", processing: "実行中", cancelled: "中止",
  emptyTitle: "商品がまだありません", emptyText: "ターミナルから最初の商品を登録してください。ここに自動で表示されます。", emptyDemo: "または、店舗の一日を模した合成データを流します。", copy: "コピー", copied: "コピーしました",
  authTitle: "このサーバーにはトークンが必要です", authText: "サーバー上で発行して下に貼り付けるか、アドレスの末尾に #token=… を付けて開いてください。", authLabel: "トークン", authButton: "接続", authKept: "このタブにだけ保存されます。",
  themeAuto: "テーマ: システムに従う", themeLight: "テーマ: ライト", themeDark: "テーマ: ダーク", language: "Show in English", footer: "リアルタイム配信サーバー",
};

const dictionaries: Record<Language, Record<Phrase, string>> = { en, ja };

class I18n {
  language = $state<Language>("en");

  start(): void {
    // The boot script has already chosen, by memory or by the browser's language.
    this.language = document.documentElement.lang === "ja" ? "ja" : "en";
  }

  toggle(): void {
    this.language = this.language === "en" ? "ja" : "en";
    document.documentElement.lang = this.language;
    try {
      localStorage.setItem("fanfare.language", this.language);
    } catch {
      // Not remembered then.
    }
  }
}

export const i18n = new I18n();

export function t(phrase: Phrase, values?: Record<string, string | number>): string {
  const text = dictionaries[i18n.language][phrase];
  return values ? text.replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? "")) : text;
}

/** Words from outside, such as a batch's state, are translated when they are known and shown as they are when not. */
export function tOr(word: string): string {
  return word in en ? t(word as Phrase) : word;
}
