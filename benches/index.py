#!/usr/bin/env python3
"""Measures the index beside its peers: benches/index.py BENCH [--files N] [--runs R] [--tree DIR] [--mix DIR]

BENCH is the program that `cargo build --release -p spacedrive-core --bench index` makes (target/release/deps/index-HASH).
Makes a deterministic tree (or takes DIR), runs us and whichever of find, updatedb, plocate, b3sum and fclones is installed in
turn, and prints medians and ratios. Processor seconds unless it says wall.
"""
import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time


def run(*args):
    """Wall and processor seconds of a command, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    wall = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, done.stdout.decode(errors="replace")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tree")
    parser.add_argument("--mix")
    args = parser.parse_args()
    work = tempfile.mkdtemp(prefix="spacedrive-bench-")
    try:
        measure(args, work)
    finally:
        shutil.rmtree(work)


def measure(args, work):
    def ours(*words):
        return [json.loads(line) for line in run(args.bench, *words)[2].splitlines() if line.startswith("{")]

    def row(what, us, peer, unit="s"):
        ratio = f"{us / peer:.2f}" if peer else "-"
        print(f"{what:58} {us:9.3f} {unit:3} {('%9.3f' % peer) if peer else '        -'}  ratio {ratio}", flush=True)

    median = statistics.median
    have = {name: shutil.which(name) for name in ("find", "updatedb", "plocate", "b3sum", "fclones")}
    tree = args.tree
    if not tree:
        tree = os.path.join(work, "tree")
        print(ours("corpus", tree, str(args.files)))
    print(f"tree {tree}; runs {args.runs}; load {os.getloadavg()[0]:.1f}\n{'':58} {'ours':>9}     {'peer':>9}")

    first, updatedb, find, rescan = [], [], [], []
    database = os.path.join(work, "plocate.db")
    for n in range(args.runs):
        data = os.path.join(work, f"data{n}")
        os.mkdir(data)
        first += ours("first", tree, data, "shallow")
        if have["updatedb"]:
            if os.path.exists(database):
                os.remove(database)
            updatedb.append(run("updatedb", "-l", "no", "-o", database, "-U", tree, "--prunepaths", "", "--prunenames", "", "--prunefs", ""))
        rescan += ours("rescan", data, "1")
        find.append(run("find", tree, "-printf", "%p\\t%s\\t%T@\\t%i\\n"))
    pick = lambda runs, key: median(one[key] for one in runs)
    peer = lambda runs, at: median(one[at] for one in runs) if runs else None
    row("first index, names searchable: cpu, against updatedb", pick(first, "cpu"), peer(updatedb, 1))
    row("first index, names searchable: wall, against updatedb", pick(first, "wall"), peer(updatedb, 0))
    row("rescan, nothing changed: cpu, against find -printf", pick(rescan, "cpu"), peer(find, 1))
    row("rescan, nothing changed: wall, against find -printf", pick(rescan, "wall"), peer(find, 0))
    row("disk per entry", first[-1]["bytes_per_entry"], None, "B")
    row("peak memory of a first index", pick(first, "peak_mib"), None, "MiB")

    armed = [ours("arm", data, "2") for _ in range(args.runs)]
    row("rescan that arms all watches: cpu more than one that need not", median(a[0]["cpu"] - a[1]["cpu"] for a in armed), None)

    queries = os.path.join(work, "queries")
    with open(queries, "w") as file:
        file.write(run(args.bench, "queries", data, "300")[2])
    found = [ours("search", data, queries)[0] for _ in range(args.runs)]
    words = open(queries).read().splitlines()
    if have["plocate"] and updatedb:
        limited = sorted(run("plocate", "-d", database, "-b", "-i", "-l", "100", "--", word)[0] for word in words)
        counted = sorted(run("plocate", "-d", database, "-b", "-i", "-c", "--", word)[0] for word in words)
    else:
        limited = counted = None
    at = lambda times, q: times[int((len(times) - 1) * q)] * 1e3 if times else None
    for q, name in ((0.5, "p50"), (0.99, "p99")):
        row(f"search, first 100, in process, {name}: wall, against plocate", median(f["limit 100"][name] for f in found), at(limited, q), "ms")
        row(f"search, count all, in process, {name}: wall, against plocate", median(f["count"][name] for f in found), at(counted, q), "ms")
    row("search, one or two letters, first 100, slowest: wall", median(f["short"]["max"] for f in found), None, "ms")
    row("memory with the names", median(f["rss_mib"] for f in found), None, "MiB")

    hashed = [ours("identify", tree)[0] for _ in range(args.runs)]
    if have["b3sum"]:
        sums = []
        for _ in range(args.runs):
            sums.append(run("sh", "-c", f"find '{tree}' -type f -print0 | xargs -0 b3sum --num-threads 1 --no-mmap >/dev/null"))
        row("small-file identity, one thread: cpu, against find | b3sum", pick(hashed, "cpu"), peer(sums, 1))
    data = os.path.join(work, "content")
    os.mkdir(data)
    content = ours("first", tree, data, "content")[0]
    row("first index with content: entries a second (wall)", content["entries"] / content["wall"], None, "/s")

    if args.mix:
        data = os.path.join(work, "mix")
        fresh, again, fclones = [], [], []
        for n in range(args.runs):
            data = os.path.join(work, f"mix{n}")
            os.mkdir(data)
            ours("first", args.mix, data, "shallow")
            twice = ours("duplicates", data, "2")
            fresh.append(twice[0])
            again.append(twice[1])
            if have["fclones"]:
                fclones.append(run("fclones", "group", "-s", "64", "--hash-fn", "blake3", args.mix))
        print(fresh[-1])
        row("duplicates, nothing hashed yet: wall, against fclones", pick(fresh, "wall"), peer(fclones, 0))
        row("duplicates again: wall", pick(again, "wall"), None)


if __name__ == "__main__":
    main()
