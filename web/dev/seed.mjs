// Fills a server with invented shops, classes and jobs, so that every page has something to show:
//   node dev/seed.mjs BASE_URL [--items=400] [--students=30] [--minutes=50] [--traffic=SECONDS] [--token=TOKEN]
// With --traffic it goes on for so many seconds: sales, prices, a class at work. Ends with 0 when everything was taken.
const base = process.argv[2]?.replace(/\/$/, "");
const options = Object.fromEntries(process.argv.slice(3).map((arg) => arg.replace(/^--/, "").split(/=(.*)/s)));
if (!base) {
  console.error("usage: node dev/seed.mjs BASE_URL [--items=400] [--students=30] [--minutes=50] [--traffic=SECONDS] [--token=TOKEN]");
  process.exit(2);
}
const itemCount = Number(options.items ?? 400);
const studentCount = Number(options.students ?? 30);
const minutes = Number(options.minutes ?? 50);

/** The same numbers every time, so that pictures of two runs can be compared. */
let seed = 20_261_121;
const random = () => {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
  return seed / 2 ** 32;
};
const pick = (list) => list[Math.floor(random() * list.length)];
const between = (low, high) => low + Math.floor(random() * (high - low + 1));

async function call(method, path, body, type = "application/json") {
  const headers = { "content-type": type, ...(options.token ? { authorization: `Bearer ${options.token}` } : {}) };
  const response = await fetch(`${base}${path}`, { method, headers, ...(body === undefined ? {} : { body: type === "application/json" ? JSON.stringify(body) : body }) });
  const text = await response.text();
  if (!response.ok && ![409, 503].includes(response.status)) throw new Error(`${method} ${path} answered ${response.status}: ${text.slice(0, 300)}`);
  return { status: response.status, body: text ? JSON.parse(text) : null };
}

/** Several at once, but not all. */
async function each(list, act, width = 6) {
  const queue = list.entries();
  await Promise.all(Array.from({ length: width }, async () => {
    for (const [index, entry] of queue) await act(entry, index);
  }));
}

const GOODS = {
  Tea: ["Sencha 100 g", "Gyokuro 50 g", "Hojicha 200 g", "Genmaicha 150 g", "宇治抹茶 40 g", "玄米茶 ティーバッグ"],
  Kitchen: ["Cast iron kettle", "Bamboo whisk", "急須 常滑焼", "Porcelain cups, set of 5", "Walnut tray", "土鍋 二合炊き"],
  Stationery: ["Fountain pen, fine", "Dot grid notebook A5", "和紙 便箋", "Brass ruler 15 cm", "Mechanical pencil 0.3"],
  Textile: ["Linen apron", "手ぬぐい 麻の葉", "Indigo scarf", "Wool blanket", "Cotton tote"],
  Garden: ["Pruning shears", "Watering can 5 l", "竹熊手", "Seed box, herbs", "Copper trowel"],
};

const items = [];
async function shop() {
  const wanted = Array.from({ length: itemCount }, (_, index) => {
    const category = pick(Object.keys(GOODS));
    const variant = ["", " · Navy", " · Natural", " · L", " · 限定"][index % 5];
    const min = between(5, 20);
    const stock = random() < 0.06 ? 0 : random() < 0.1 ? between(1, min) : between(min + 5, min * 8);
    return {
      sku: `${category.slice(0, 3).toUpperCase()}-${String(1001 + index)}`, name: pick(GOODS[category]) + variant, category,
      stock_quantity: stock, min_stock_level: min, cost_price: between(3, 60) * 50,
    };
  });
  await each(wanted, async (item) => {
    const { status, body } = await call("POST", "/api/v1/inventory", item);
    if (status === 201) items.push(body);
  });
  await each(items.slice(0, 60), async (item) => {
    const { body } = await call("POST", "/api/v1/prices", { inventory_id: item.id, selling_price: Number(item.cost_price) * 2 + 100 });
    item.price = body;
  });
  const waiting = items.filter((item) => item.price).slice(3, 7);
  await each(waiting, (item) => call("PATCH", `/api/v1/prices/${item.price.id}`, { selling_price: Math.round(Number(item.price.selling_price) * 1.45), requires_approval: true, change_reason: pick(["季節の見直し", "Supplier raised the cost", "New season"]) }));
  // Another change would settle them.
  for (const item of waiting) item.price = null;
}

const NAMES = ["佐藤 花", "鈴木 健", "高橋 葵", "田中 蓮", "伊藤 凛", "渡辺 樹", "山本 結衣", "中村 陽翔", "小林 さくら", "加藤 大和", "吉田 芽依", "Alice Martin", "Bruno Costa", "Chloé Petit", "Dmitri Orlov", "Emma Fischer"];
const ERRORS = ["NameError: name 'df' is not defined", "KeyError: '売上'", "TypeError: unsupported operand type(s) for +: 'int' and 'str'", "SyntaxError: invalid syntax", "ZeroDivisionError: division by zero", "AttributeError: 'list' object has no attribute 'shape'"];
const NOTEBOOKS = ["第3回/データ分析入門.ipynb", "第3回/可視化.ipynb"];
const CELLS = 24;

const students = Array.from({ length: studentCount }, (_, index) => ({
  id: `student-${String(index + 1).padStart(3, "0")}`,
  name: NAMES[index % NAMES.length] + (index >= NAMES.length ? ` ${Math.floor(index / NAMES.length) + 1}` : ""),
  team: `チーム${"ABCDE"[index % 5]}`, class: index % 4 === 3 ? "3-C" : "3-B", cell: 0, skill: 0.35 + random() * 0.5, runs: 0,
}));

function run(student, atMs, notebook = NOTEBOOKS[0], failing = null) {
  const hard = [6, 7, 12].includes(student.cell) ? 0.3 : 0;
  const failed = failing ?? random() > student.skill - hard;
  student.runs += 1;
  const event = {
    eventId: crypto.randomUUID(), eventType: "cell_executed", eventTime: new Date(atMs).toISOString(),
    userId: student.id, userName: student.name, teamName: student.team, class: student.class, notebookPath: notebook,
    cellId: `c${notebook.length}-${student.cell + 1}`, cellIndex: student.cell, cellType: "code", executionCount: student.runs, hasError: failed,
    executionDurationMs: between(20, 3_000), code: `df_${student.cell} = load(${student.cell})`,
    ...(failed ? { errorMessage: ERRORS[(student.cell + (random() < 0.3 ? 1 : 0)) % ERRORS.length] } : { result: "ok" }),
  };
  if (!failed) student.cell = Math.min(CELLS - 1, student.cell + 1);
  return event;
}

const help = (student, atMs, type = "help") => ({
  eventId: crypto.randomUUID(), eventType: type, eventTime: new Date(atMs).toISOString(), userId: student.id, userName: student.name,
  teamName: student.team, class: student.class, notebookPath: NOTEBOOKS[0],
});

async function lesson() {
  const now = Date.now();
  const events = [];
  for (const [index, student] of students.entries()) {
    // Some have stopped a while ago, some cannot get on, the rest works at its own pace.
    const until = index % 11 === 5 ? now - 14 * 60_000 : now - between(2, 40) * 1_000;
    let atMs = now - minutes * 60_000 + between(0, 90_000);
    while (atMs < until) {
      events.push(run(student, atMs));
      atMs += between(50, 260) * 1_000;
    }
    if (index % 9 === 2) for (let i = 0; i < 4; i += 1) events.push(run(student, now - (5 - i) * 25_000, NOTEBOOKS[0], true));
    if (index % 10 === 4) events.push(help(student, now - between(60, 240) * 1_000));
  }
  events.sort((a, b) => (a.eventTime < b.eventTime ? -1 : 1));
  for (let from = 0; from < events.length; from += 100) await call("POST", "/api/v1/events", events.slice(from, from + 100));
}

const OCCUPATIONS = ["restaurant", "retail", "office", "logistics", "education", "it", "service", "creative"];
const PLACES = [["東京都", "港区"], ["東京都", "新宿区"], ["大阪府", "大阪市"], ["京都府", "京都市"], ["愛知県", "名古屋市"], ["福岡県", "福岡市"]];
const TITLES = { restaurant: "ホールスタッフ（未経験歓迎）", retail: "レジ・品出しスタッフ", office: "一般事務（データ入力）", logistics: "倉庫内ピッキング", education: "個別指導の塾講師", it: "Webアプリ開発エンジニア", service: "ホテルフロント", creative: "動画編集アシスタント" };

async function jobs() {
  const list = Array.from({ length: 300 }, (_, index) => {
    const occupation = pick(OCCUPATIONS);
    const [prefecture, city] = pick(PLACES);
    const salary = between(11, 22) * 100;
    return {
      external_id: `J-${index + 1}`, company_name: `${pick(["渋谷", "梅田", "港", "青葉", "白川", "桜"])}${pick(["カフェ", "物流", "商店", "ゼミナール", "ソフト", "ホテル"])}`,
      title: TITLES[occupation], description: `${TITLES[occupation]}の求人です。未経験から始められ、先輩が丁寧に教えます。シフトは相談できます。交通費支給、制服貸与あり。週二日から勤務でき、学業や家庭と両立しやすい職場です。土日だけの勤務も歓迎します。`,
      salary_min: salary, salary_max: salary + 300, prefecture, city, occupation_category: occupation, needs_categories: [pick(["短期", "週末", "在宅", "駅近"])],
      features: ["交通費支給"], work_days: pick(["土日", "平日", "月水金"]), work_hours: pick(["9:00-17:00", "17:00-22:00"]), url: `https://jobs.example.com/${index + 1}`,
    };
  });
  const people = Array.from({ length: 120 }, (_, index) => {
    const [prefecture, city] = pick(PLACES);
    return {
      external_id: `U-${index + 1}`, email: `user${index + 1}@example.com`, name: NAMES[index % NAMES.length], language: index % 3 ? "ja" : "en", prefecture, city, email_opt_in: true,
      profile: { work_preferences: { occupation_categories: [pick(OCCUPATIONS)], prefectures: [prefecture], cities: [city], salary_min: between(11, 16) * 100, needs_categories: [pick(["短期", "週末", "在宅", "駅近"])], work_days: ["sat", "sun"], time_slots: ["day"] }, experience: { years: { restaurant: between(0, 3) } }, personal_info: {} },
    };
  });
  for (const [path, all] of [["/api/v2/jobs/bulk", list], ["/api/v2/users/bulk", people]])
    for (let from = 0; from < all.length; from += 100) await call("POST", path, all.slice(from, from + 100));
  await call("POST", "/api/v1/batch/trigger", { batch_type: "scoring" });
  await call("POST", "/api/v1/batch/trigger", { batch_type: "daily_matching" });
}

async function traffic(seconds) {
  if (items.length === 0) {
    items.push(...(await call("GET", "/api/v1/inventory?limit=1000")).body.items);
    for (const price of (await call("GET", "/api/v1/prices?active=true&limit=1000")).body.items) {
      const item = items.find(({ id }) => id === price.inventory_id);
      if (item && !price.requires_approval) item.price = price;
    }
  }
  // The class goes on where it is.
  for (const row of (await call("GET", "/api/v1/progress/overview?limit=1000")).body.items) {
    const student = students.find(({ id }) => id === row.user_id);
    if (student && student.cell === 0) student.cell = Math.min(CELLS - 1, (row.cell_index ?? 0) + (row.errors_in_row ? 0 : 1));
  }
  const end = Date.now() + seconds * 1_000;
  const priced = items.filter((item) => item.price);
  while (Date.now() < end) {
    await Promise.all([
      ...Array.from({ length: 3 }, () => call("POST", `/api/v1/inventory/${pick(items).id}/adjust`, { delta: random() < 0.85 ? -between(1, 3) : between(5, 12) })),
      random() < 0.5 && priced.length ? reprice(pick(priced)) : null,
      random() < 0.12 ? call("POST", "/api/v1/events", [run(pick(students), Date.now())]) : null,
    ]);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

function reprice(item) {
  const factor = 1 + (random() - 0.48) * 0.08;
  item.price.selling_price = Math.max(100, Math.round((Number(item.price.selling_price) * factor) / 10) * 10);
  return call("PATCH", `/api/v1/prices/${item.price.id}`, { selling_price: item.price.selling_price });
}

const only = options.only?.split(",");
for (const [name, part] of Object.entries({ shop, lesson, jobs })) {
  if (only && !only.includes(name)) continue;
  await part();
  console.log(`${name}: done`);
}
if (options.traffic) await traffic(Number(options.traffic));
console.log("seeded");
