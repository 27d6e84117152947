#!/usr/bin/env python3
"""Measures a transfer against an rsync daemon (plain TCP, unverified) and against a bare stream of iroh.

    benches/transfer.py EXAMPLE [--netns] [--size MIB] [--files N] [--runs N]

EXAMPLE is the built `crates/net/examples/transfer.rs`. The three run in turn on the same data, and medians are
printed. With --netns (root) the two sides are in two network namespaces joined by a veth pair; otherwise both are
on loopback. Wall time is that of the sending side, with connecting; rsync's is that of the client.
"""
import argparse, os, shutil, statistics, subprocess, tempfile, time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("example")
parser.add_argument("--netns", action="store_true")
parser.add_argument("--size", type=int, default=1024, help="MiB of the one big file; 0: leave it out")
parser.add_argument("--files", type=int, default=100_000, help="how many small files; 0: leave them out")
parser.add_argument("--runs", type=int, default=5)
args = parser.parse_args()
work = Path(tempfile.mkdtemp(prefix="sd-transfer-"))
here, there = ("127.0.0.1", "127.0.0.1")
ns = {"send": [], "serve": []}
if args.netns:
    names = [f"sdt{os.getpid()}a", f"sdt{os.getpid()}b"]
    here, there = "10.78.0.1", "10.78.0.2"
    ns = {"send": ["ip", "netns", "exec", names[0]], "serve": ["ip", "netns", "exec", names[1]]}


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def fresh(name):
    folder = work / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def sd(mode, path):
    """One transfer in fresh processes: seconds, CPU seconds and peak KiB of sender and receiver."""
    inbox, address = fresh("inbox"), work / "address"
    address.unlink(missing_ok=True)
    prefix = "raw-" if mode == "raw" else ""
    serve = subprocess.Popen([*ns["serve"], args.example, prefix + "serve", there + ":0", address, inbox], stdout=subprocess.PIPE, text=True)
    while not address.exists():
        time.sleep(0.01)
    sent = subprocess.run([*ns["send"], args.example, prefix + "send", here + ":0", address, "cubic", path], check=True, capture_output=True, text=True)
    seconds, cpu, peak = sent.stdout.split()
    _, their_cpu, their_peak = serve.stdout.readline().split()
    serve.kill()
    serve.wait()
    return float(seconds), float(cpu) + float(their_cpu), int(peak), int(their_peak)


def rsync(path):
    inbox = fresh("inbox")
    config = work / "rsyncd.conf"
    config.write_text(f"use chroot = no\nuid = {os.getuid()}\ngid = {os.getgid()}\n[in]\npath = {inbox}\nread only = no\n")
    daemon = subprocess.Popen([*ns["serve"], "rsync", "--daemon", "--no-detach", f"--config={config}", "--port=8873", f"--address={there}"], stdout=subprocess.DEVNULL)
    time.sleep(0.3)
    begun = time.monotonic()
    subprocess.run([*ns["send"], "rsync", "-aW", path, f"rsync://{there}:8873/in/"], check=True)
    seconds = time.monotonic() - begun
    daemon.kill()
    daemon.wait()
    return (seconds,)


def measure(title, path, what, unit):
    runs = {name: [] for name in what}
    for _ in range(args.runs):
        for name in what:
            runs[name].append(rsync(path) if name == "rsync" else sd(name, path))
            if name != "raw":
                same = subprocess.run(["diff", "-rq", path, work / "inbox" / path.name])
                assert same.returncode == 0, f"{name}: what arrived differs"
    print(title)
    median = {name: statistics.median(run[0] for run in all) for name, all in runs.items()}
    for name, all in runs.items():
        line = f"  {name:6} {median[name]:7.2f} s  {unit[0] / median[name]:9.1f} {unit[1]}/s"
        if name != "rsync":
            line += f"  cpu {statistics.median(run[1] for run in all):6.2f} s  peak KiB: sender {max(run[2] for run in all)}, receiver {max(run[3] for run in all)}"
        print(line + f"   ratio to ours: {median['sd'] / median[name]:.2f}", flush=True)


try:
    if args.netns:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "sdta", "netns", names[0], "type", "veth", "peer", "name", "sdtb", "netns", names[1])
        for name, link, address in [(names[0], "sdta", here), (names[1], "sdtb", there)]:
            ip("-n", name, "addr", "add", address + "/24", "dev", link)
            ip("-n", name, "link", "set", link, "up")
            ip("-n", name, "link", "set", "lo", "up")
    if args.size:
        big = work / "big"
        with open(big, "wb") as file:
            for _ in range(args.size):
                file.write(os.urandom(1 << 20))
        measure(f"one file of {args.size} MiB", big, ["rsync", "raw", "sd"], (args.size, "MiB"))
        big.unlink()
    if args.files:
        many = work / "many"
        for number in range(args.files):
            folder = many / f"{number % 97}" / f"{number % 13}"
            if number < 97 * 13:
                folder.mkdir(parents=True, exist_ok=True)
            (folder / f"file {number}").write_bytes(os.urandom(200 + number * 7919 % 2300))
        measure(f"{args.files} files of 200 to 2,500 bytes", many, ["rsync", "sd"], (args.files, "files"))
finally:
    if args.netns:
        for name in names:
            subprocess.run(["ip", "netns", "del", name])
    shutil.rmtree(work, ignore_errors=True)
