#!/usr/bin/env python3
"""The best 40 of 100,000 jobs for each of 10,000 users, as one would write it with NumPy and with pandas.

    python matching.py [jobs] [users] [sample]

All pairs are scored by the formula of src/feeds/matching/engine/formula.rs, vectorized over the jobs of one user, and the best
40 by combined score are taken. Sections and rules of diversity are left out, which is in favor of this side. It times a
sample of users on one core and says what all of them take on all cores. Fields are drawn as in tests/it/matching_data.rs,
but uniformly over prefectures.
"""

import os
import resource
import sys
import time

import numpy as np
import pandas as pd

JOBS, USERS, SAMPLE = (int(word) for word in (sys.argv[1:] + ["100000", "10000", "200"][len(sys.argv) - 1:]))
BEST = 40
random = np.random.default_rng(20261121)


def jobs():
    wage = random.integers(1_000, 1_227, JOBS)
    needs = np.zeros(JOBS, np.uint16)
    for _ in range(4):
        needs |= (1 << random.integers(0, 12, JOBS)).astype(np.uint16) * (random.integers(0, 5, JOBS) > 1)
    return {
        "occupation": random.integers(0, 12, JOBS).astype(np.uint8),
        "prefecture": random.integers(0, 47, JOBS).astype(np.uint8),
        "city": random.integers(0, 30, JOBS).astype(np.uint8),
        "at": unit(random.uniform(31, 43, JOBS), random.uniform(130, 145, JOBS)),
        "offer": wage + random.integers(0, wage // 2),
        "needs": needs,
        "days": random.integers(0, 128, JOBS).astype(np.uint8),
        "slots": random.integers(0, 16, JOBS).astype(np.uint8),
        "standing": 400 * random.choice([55, 65, 70, 77, 82, 90, 95, 100], JOBS) + 300 * 5 * random.integers(0, 12, JOBS),
    }


def unit(lat, lon):
    """Places as points of the earth in metres, so that a distance is a chord."""
    lat, lon = np.radians(lat), np.radians(lon)
    return 6_371_000 * np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def person():
    return {
        "occupations": random.integers(0, 12, random.integers(0, 3)),
        "prefecture": random.integers(0, 47), "city": random.integers(0, 30),
        "at": unit(random.uniform(31, 43), random.uniform(130, 145)),
        "desired": int(random.integers(1_000, 1_600)), "needs": int(random.integers(0, 4_096)),
        "days": int(random.integers(0, 128)), "slots": int(random.integers(0, 16)),
        "years": random.integers(0, 4, 12), "behavior": random.integers(0, 20, 12).astype(float),
    }


BITS = np.array([bin(value).count("1") for value in range(4_096)], np.int32)


def available(job, own):
    if own == 0:
        return np.full(len(job), 200)
    return np.where(job == 0, 400, 400 * BITS[job & own] // np.maximum(BITS[job], 1))


def scores(job, who):
    """The combined score of one user with each job, in thousandths."""
    wanted = np.isin(job["occupation"], who["occupations"])
    occupation = np.where(wanted, 2_500, 0) if len(who["occupations"]) else 1_250
    metres = np.sqrt(((job["at"] - who["at"]) ** 2).sum(axis=1))
    place = np.clip(50_000 - metres, 0, 48_000) * 2_000 // 48_000
    here = job["prefecture"] == who["prefecture"]
    place = np.maximum(place, np.where(here & (job["city"] == who["city"]), 2_000, np.where(here, 1_200, 0)))
    salary = 2_000 * np.minimum(job["offer"], who["desired"]) // who["desired"]
    need = bin(who["needs"]).count("1")
    style = 1_500 * BITS[job["needs"] & who["needs"]] // need if need else 750
    free = available(job["days"], who["days"]) + available(job["slots"], who["slots"])
    experience = np.minimum(who["years"] * 100, 400)[job["occupation"]]
    behavior = np.round(800 * (1 - np.exp(-who["behavior"] / 10)))[job["occupation"]]
    return job["standing"] + 3 * (occupation + place + salary + style + free + experience + behavior)


def with_numpy(job, who):
    combined = scores(job, who)
    best = np.argpartition(-combined, BEST)[:BEST]
    return best[np.lexsort((best, -combined[best]))]


def with_pandas(frame, job, who):
    return frame.assign(combined=scores(job, who)).nlargest(BEST, "combined")[["id", "combined"]]


def timed(name, users, choose):
    begun = time.perf_counter()
    for who in users:
        choose(who)
    each = (time.perf_counter() - begun) / len(users)
    cores = os.cpu_count() or 1
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_024
    print(f"{name}: {each * 1e3:.1f} ms a user; {USERS} users on {cores} cores: {each * USERS / cores:.0f} s; {most} MB a process")


def main():
    job = jobs()
    frame = pd.DataFrame({name: column for name, column in job.items() if name != "at"})
    frame.insert(0, "id", np.arange(JOBS))
    users = [person() for _ in range(SAMPLE)]
    timed("NumPy", users, lambda who: with_numpy(job, who))
    timed("pandas", users, lambda who: with_pandas(frame, job, who))


main()
