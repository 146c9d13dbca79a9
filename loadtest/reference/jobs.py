#!/usr/bin/env python3
"""Imports jobs and a tenth as many users into a server, and has them matched.

    python jobs.py http://127.0.0.1:8000 100000
"""

import json
import pathlib
import random
import re
import sys
import time
import urllib.request

URL, JOBS = sys.argv[1], int(sys.argv[2])
OCCUPATIONS = ["restaurant", "retail", "office", "logistics", "education", "medical", "construction", "manufacturing", "it",
               "service", "creative", "other"]
NEEDS = ["短期", "長期", "高収入", "日払い", "未経験歓迎", "学生歓迎", "主婦歓迎", "在宅", "土日のみ", "夜勤"]
# Facts of Japan, where the program has them: prefecture, latitude, longitude, minimum wage and people; cities with people.
FACTS = pathlib.Path(__file__).parents[2] / "src/feeds/matching/place"
number = lambda text: float(text.replace("_", ""))
PREFECTURES = [(name, *map(number, rest)) for name, *rest in re.findall(
    r'prefecture\("(.+?)", ([\d.]+), ([\d.]+), (\d+), ([\d_]+)\)', (FACTS / "facts.rs").read_text())]
STATIONS = re.findall(r'\("(.+?)", "(.+?)", [\d.]+, [\d.]+\)', (FACTS / "facts.rs").read_text())
CITIES = [(int(number(code)) // 1000 - 1, name, number(people)) for code, name, people in re.findall(
    r'\(([\d_]+), "(.+?)", ([\d_]+)\)', (FACTS / "cities.rs").read_text())]
WORDS = ["カフェ", "倉庫", "受付", "配送", "介護", "塾講師", "清掃", "調理", "接客", "軽作業"]
random.seed(20261121)


def place():
    """A prefecture and a city of it, as likely as they have people; a station, where one is listed."""
    index = random.choices(range(47), [one[4] for one in PREFECTURES])[0]
    name, latitude, longitude, wage, _ = PREFECTURES[index]
    cities = [(city, people) for of, city, people in CITIES if of == index]
    city = random.choices([city for city, _ in cities], [people for _, people in cities])[0]
    stations = [station for station, of in STATIONS if of == name]
    return name, city, random.choice(stations) if stations else None, latitude, longitude, int(wage)


def send(path, rows):
    body = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    request = urllib.request.Request(URL + path, body, {"Content-Type": "application/x-ndjson"})
    task = json.load(urllib.request.urlopen(request))
    while task["state"] not in ("completed", "failed"):
        time.sleep(0.2)
        task = json.load(urllib.request.urlopen(URL + f"/api/v1/tasks/{task['task_id']}/status"))
    assert task["failed"] == 0, task


def job(n):
    prefecture, city, station, lat, lon, wage = place()
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
    prefecture, city, *_, wage = place()
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
