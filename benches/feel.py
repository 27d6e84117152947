#!/usr/bin/env python3
"""Footprint and feel: short commands against `git --version`, start, instance list, idle memory and CPU.

Usage: benches/feel.py [BINARY] [--idle SECONDS]. Needs Linux and git. Everything runs in a temporary home of its own.
Times are wall milliseconds; A and B are run in turn, so that the ratio holds when the machine's speed drifts.
"""
import argparse, json, os, signal, statistics, subprocess, sys, tempfile, time

parser = argparse.ArgumentParser()
parser.add_argument("binary", nargs="?", default="target/release/spacedrive")
parser.add_argument("--idle", type=int, default=60)
options = parser.parse_args()
SD = os.path.abspath(options.binary)


def home(folder):
    for name in ("run", "state", "home", "cwd"):
        os.makedirs(f"{folder}/{name}")
    os.chmod(f"{folder}/run", 0o700)
    env = {"PATH": os.environ["PATH"], "HOME": f"{folder}/home", "XDG_RUNTIME_DIR": f"{folder}/run", "XDG_STATE_HOME": f"{folder}/state"}
    return env, f"{folder}/cwd"


def run(*args, check=True):
    return subprocess.run([SD, *args], env=env, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=check)


def timed(argv):
    begun = time.perf_counter()
    subprocess.run(argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - begun) * 1000


def spread(values):
    values = sorted(values)
    return f"min {values[0]:.2f}  p50 {statistics.median(values):.2f}  p99 {values[int(len(values) * 0.99) - 1]:.2f} ms"


def memory(pid):
    """RSS and PSS in MiB."""
    rollup = open(f"/proc/{pid}/smaps_rollup").read()
    value = lambda key: sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith(key)) / 1024
    return value("Rss:"), value("Pss:")


def cpu(pid):
    """CPU seconds so far."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


with tempfile.TemporaryDirectory(prefix="sd-feel-") as folder:
    env, cwd = home(folder)
    try:
        starts = []
        for _ in range(21):
            starts.append(timed([SD, "start"]))
            run("stop")
        print(f"start until it answers: {spread(starts[1:])}")

        run("start")
        run("library", "create", "One")
        pid = int(open(f"{folder}/run/spacedrive.pid").read())
        a, b = [], []
        for _ in range(310):
            a.append(timed([SD, "library", "list"]))
            b.append(timed(["git", "--version"]))
        a, b = a[10:], b[10:]
        print(f"library list:  {spread(a)}")
        print(f"git --version: {spread(b)}")
        print(f"ratio of medians: {statistics.median(a) / statistics.median(b):.2f}")

        before, begun = cpu(pid), time.monotonic()
        time.sleep(options.idle)
        print(f"one idle daemon: RSS {memory(pid)[0]:.1f} MiB, PSS {memory(pid)[1]:.1f} MiB, "
              f"CPU {(cpu(pid) - before) / (time.monotonic() - begun) * 100:.3f} % over {options.idle} s")

        for i in range(9):
            run("start", "--instance", f"n{i}")
        pids = [i["pid"] for i in json.loads(run("instance", "list", "--json").stdout)]
        print(f"{len(pids)} idle daemons together: PSS {sum(memory(p)[1] for p in pids):.1f} MiB")

        for i in range(9, 19):
            run("start", "--instance", f"n{i}")
        frozen = int(open(f"{folder}/run/spacedrive-n0.pid").read())
        os.kill(frozen, signal.SIGSTOP)
        lists = [timed([SD, "instance", "list"]) for _ in range(11)]
        statuses = [i["status"] for i in json.loads(run("instance", "list", "--json").stdout)]
        os.kill(frozen, signal.SIGCONT)
        print(f"instance list, {len(statuses)} instances, {statuses.count('running')} running, "
              f"{statuses.count('unresponsive')} frozen: {spread(lists[1:])}")
    finally:
        run("stop", "--all", check=False)
print(f"binary: {os.path.getsize(SD) / 1048576:.1f} MiB")
