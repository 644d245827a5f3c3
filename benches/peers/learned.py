"""Times the learned workloads of the peers in turns, and prints a table.

    python benches/peers/learned.py --torch VENV/bin/python --jax VENV/bin/python --burn PROGRAM --candle PROGRAM

Each peer that is named runs as a server (README.md); one run of each, and again, so that all meet the same disturbances of the
machine.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

here = pathlib.Path(__file__).parent

# Case, part, form, peers, steps of one timing.
CASES = [
    ("fno2d", "step", "tuned", ("torch", "jax", "burn", "candle"), 2),
    ("fno2d", "step", "classic", ("torch",), 2),
    ("fno2d", "forward", "tuned", ("torch", "jax", "burn", "candle"), 2),
    ("conv_tower", "step", "tuned", ("torch", "jax", "burn", "candle"), 1),
    ("conv_tower", "forward", "tuned", ("torch", "jax", "burn", "candle"), 1),
    ("conv3d", "step", "tuned", ("torch", "jax", "burn"), 3),
    ("sfno_s", "step", "tuned", ("torch",), 4),
    ("sfno_s", "forward", "tuned", ("torch",), 8),
    ("sfno_m", "step", "tuned", ("torch",), 2),
    ("sfno_m", "forward", "tuned", ("torch",), 4),
]


class Server:
    def __init__(self, command, precision, threads):
        self.process = subprocess.Popen(
            [*command, "--precision", precision, "--threads", str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        self.versions = self.read()["versions"]

    def read(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": "the server has ended"}

    def ask(self, request):
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass
        return self.read()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for peer in ("torch", "jax"):
        parser.add_argument(f"--{peer}", help="its Python")
    for peer in ("burn", "candle"):
        parser.add_argument(f"--{peer}", help=f"the program of engine_{peer}")
    parser.add_argument("--threads", type=lambda text: [int(t) for t in text.split(",")], default=[1, 2])
    parser.add_argument("--precision", type=lambda text: text.split(","), default=["f32", "f64"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="cases with this in 'case part form'")
    parser.add_argument("--json", type=pathlib.Path, help="where to write every timing")
    args = parser.parse_args()
    commands = {
        peer: [path, here / f"{peer}_cases.py"] if peer in ("torch", "jax") else [path]
        for peer in ("torch", "jax", "burn", "candle")
        if (path := getattr(args, peer))
    }
    if not commands:
        sys.exit("name at least one of --torch, --jax, --burn, --candle")

    rows = []
    print(f"load average {os.getloadavg()[0]:.2f} before")
    print("| case | part | form | peer | prec | thr | wall ms (min) | cpu ms | peak MiB | first loss |\n|" + "---|" * 10, flush=True)
    for threads in args.threads:
        for precision in args.precision:
            servers = {peer: Server(command, precision, threads) for peer, command in commands.items()}
            for case, part, form, peers, steps in CASES:
                if args.only not in f"{case} {part} {form}":
                    continue
                request = {"case": case, "part": part, "form": form, "steps": steps, "precision": precision}
                answers = {peer: [] for peer in peers if peer in servers}
                for _ in range(args.repeats):
                    for peer, of_peer in answers.items():
                        if of_peer and "error" in of_peer[-1]:
                            continue
                        time.sleep(0.1)  # thread pools spin for a while after their turn
                        of_peer.append(servers[peer].ask(request))
                for peer, of_peer in answers.items():
                    if "error" in of_peer[-1]:
                        print(f"| {case} | {part} | {form} | {peer} | {precision} | {threads} | {of_peer[-1]['error']} |")
                        continue
                    wall, cpu = ([answer[f"{kind}_us_per_step"] / 1e3 for answer in of_peer] for kind in ("wall", "cpu"))
                    rows.append({**request, "peer": peer, "threads": threads, "wall_ms": wall, "cpu_ms": cpu,
                                 "peak_mib": of_peer[0]["peak_mib"], "losses": of_peer[0].get("losses", []),
                                 "versions": servers[peer].versions})
                    loss = rows[-1]["losses"][0] if rows[-1]["losses"] else math.nan
                    print(f"| {case} | {part} | {form} | {peer} | {precision} | {threads} | "
                          f"{statistics.median(wall):.1f} ({min(wall):.1f}) | {statistics.median(cpu):.1f} | "
                          f"{of_peer[0]['peak_mib']:.0f} | {loss:.8e} |", flush=True)
            for server in servers.values():
                server.close()
    print(f"load average {os.getloadavg()[0]:.2f} after")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
