#!/usr/bin/env python3
"""Imports jobs and a tenth as many users into a server, and has them matched.

    python jobs.py http://127.0.0.1:8000 100000
"""

import json
import random
import sys
import time
import urllib.request

URL, JOBS = sys.argv[1], int(sys.argv[2])
OCCUPATIONS = ["restaurant", "retail", "office", "logistics", "education", "medical", "construction", "manufacturing", "it",
               "service", "creative", "other"]
NEEDS = ["短期", "長期", "高収入", "日払い", "未経験歓迎", "学生歓迎", "主婦歓迎", "在宅", "土日のみ", "夜勤"]
# Prefecture, a city of it, a station there, its place, the minimum wage, and its share of the people in percent.
PLACES = [("東京都", "港区", "品川", 35.66, 139.75, 1163, 11), ("神奈川県", "横浜市", "横浜", 35.44, 139.64, 1162, 7),
          ("大阪府", "北区", "大阪", 34.70, 135.50, 1114, 7), ("愛知県", "名古屋市", "名古屋", 35.18, 136.91, 1077, 6),
          ("埼玉県", "さいたま市", "大宮", 35.86, 139.65, 1078, 6), ("北海道", "札幌市", "札幌", 43.06, 141.35, 1010, 4),
          ("福岡県", "福岡市", "博多", 33.59, 130.40, 992, 4), ("沖縄県", "那覇市", "県庁前", 26.21, 127.68, 952, 1)]
WORDS = ["カフェ", "倉庫", "受付", "配送", "介護", "塾講師", "清掃", "調理", "接客", "軽作業"]
random.seed(20261121)


def place():
    return random.choices(PLACES, [one[-1] for one in PLACES])[0]


def send(path, rows):
    body = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    request = urllib.request.Request(URL + path, body, {"Content-Type": "application/x-ndjson"})
    task = json.load(urllib.request.urlopen(request))
    while task["state"] not in ("completed", "failed"):
        time.sleep(0.2)
        task = json.load(urllib.request.urlopen(URL + f"/api/v1/tasks/{task['task_id']}/status"))
    assert task["failed"] == 0, task


def job(n):
    prefecture, city, station, lat, lon, wage, _ = place()
    offer, word, need = random.randint(wage, wage * 3 // 2), random.choice(WORDS), random.choice(NEEDS)
    return {
        "external_id": f"J-{n}", "company_name": f"会社{random.randint(1, 12_000)}", "title": f"{word}のスタッフを募集しています",
        "description": f"{city}の{random.choice(['駅前', '駅近', '郊外'])}で{word}の仕事です。{need}の方を歓迎します。",
        "prefecture": prefecture, "city": city, "location": prefecture + city,
        "nearest_station": station, "salary_min": offer, "salary_max": offer + 200,
        "latitude": lat + random.uniform(-0.2, 0.2), "longitude": lon + random.uniform(-0.2, 0.2),
        "occupation_category": random.choice(OCCUPATIONS), "needs_categories": [need],
    }


def user(n):
    prefecture, city, *_, wage, _ = place()
    return {
        "external_id": f"U-{n}", "email": f"user-{n}@example.com", "name": f"利用者{n}", "prefecture": prefecture, "city": city,
        "profile": {"work_preferences": {"occupation_categories": [random.choice(OCCUPATIONS)], "salary_min": wage,
                                         "needs_categories": [random.choice(NEEDS)]}},
    }


begun = time.time()
for first in range(0, JOBS, 10_000):
    send("/api/v2/jobs/bulk", [job(n) for n in range(first, min(first + 10_000, JOBS))])
send("/api/v2/users/bulk", [user(n) for n in range(JOBS // 10)])
print(f"imported in {time.time() - begun:.0f} s")
begun = time.time()
trigger = urllib.request.Request(URL + "/api/v1/batch/trigger", b'{"batch_type": "daily_matching"}', {"Content-Type": "application/json"})
batch = json.load(urllib.request.urlopen(trigger))
while batch["state"] == "running":
    time.sleep(0.5)
    batch = json.load(urllib.request.urlopen(URL + f"/api/v1/batch/status/{batch['batch_id']}"))
print(f"matched in {time.time() - begun:.0f} s: {batch}")
