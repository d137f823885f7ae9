"""What the benchmarks share: building the program, making data, fleets, measuring processes, keeping results."""
import contextlib
import datetime
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("LAKEWRIGHT_CACHE", Path.home() / ".cache/lakewright")) / "bench"
RESULTS = ROOT / "bench/RESULTS.md"
SEED = 1
# How long one process may take.
RUN_SECONDS_MAX = 3600
SAMPLE_SECONDS = 0.02
# How long a process of a fleet may take to start, and to end when it is asked to.
START_SECONDS_MAX = 60
END_SECONDS_MAX = 120


def say(text):
    print(f"== {text}", file=sys.stderr, flush=True)


def build(profile):
    say(f"build lakewright ({profile})")
    subprocess.run(["cargo", "build", "--locked", "--profile", profile, "--bin", "lakewright"], cwd=ROOT, check=True)
    metadata = subprocess.run(["cargo", "metadata", "--format-version=1", "--no-deps"], cwd=ROOT, check=True,
                              capture_output=True, text=True)
    target = Path(json.loads(metadata.stdout)["target_directory"])
    return target / ("release" if profile == "release" else "debug") / "lakewright"


def generate(binary, events, songs, days):
    """The project with the raw data of these sizes, made once. Returns the raw folder."""
    # A changed generator makes other bytes: the data is of one binary's version and size.
    project = CACHE / f"data-{events}-{songs}-{days}-{SEED}"
    if not (project / "complete").exists():
        say(f"generate {events} events and {songs} songs")
        shutil.rmtree(project, ignore_errors=True)
        sizes = ["--events", events, "--songs", songs, "--days", days, "--seed", SEED]
        subprocess.run([binary, "init", project, *map(str, sizes)], check=True, stdout=subprocess.DEVNULL)
        (project / "complete").touch()
    for path in (project / "data/raw").rglob("*.json"):
        # Piece by piece: a process that is started later counts this one's memory as its own, until it is another program.
        with open(path, "rb") as file:
            while file.read(1 << 20):
                pass
    return project / "data/raw"


def measure(arguments):
    """Runs a command to its wall time, CPU time and peak memory, or to an error."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}
    with tempfile.TemporaryFile() as log:
        begun = time.perf_counter()
        # A session of its own, so that all that it starts can be found by it.
        child = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                                 start_new_session=True)
        watch = SessionWatch(child.pid)
        timer = threading.Timer(RUN_SECONDS_MAX, child.kill)
        timer.start()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
        timer.cancel()
        cpu, memory = watch.finish()
        if child.returncode:
            log.seek(0)
            last = log.read().decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            return None, f"exit code {child.returncode}: {last[0][:200]}"
    cpu = max(cpu, usage.ru_utime + usage.ru_stime)
    return {"wall": wall, "cpu": cpu, "memory": max(memory, usage.ru_maxrss * 1024)}, None


class SessionWatch:
    """Samples the CPU time and memory of all processes of a session until it is finished."""

    def __init__(self, session):
        self.session, self.cpu_by_process, self.memory_max = session, {}, 0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        while not self.stop.wait(SAMPLE_SECONDS):
            self.sample()

    def sample(self):
        tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
        memory = 0
        for path in Path("/proc").iterdir() if os.path.isdir("/proc") else ():
            if not path.name.isdigit():
                continue
            try:
                # Fields after the command's name, which may hold spaces: state, parent, group, session, …
                fields = (path / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == self.session:
                self.cpu_by_process[path.name] = (int(fields[11]) + int(fields[12])) / tick
                memory += int(fields[21]) * page
        self.memory_max = max(self.memory_max, memory)

    def finish(self):
        self.stop.set()
        self.thread.join()
        return sum(self.cpu_by_process.values()), self.memory_max


class Fleet:
    """A scheduler and executors of this machine on the lake of a folder; all of them end with it."""

    def __init__(self, binary, folder, environment):
        self.binary, self.folder, self.started = Path(binary), Path(folder), []
        # Of logs and addresses: one that has ended must not lend its address to another.
        self.names = itertools.count()
        own = {"LAKEWRIGHT_LAKE": str(self.folder / "lake"), "NO_COLOR": "1"}
        self.environment = {**os.environ, **own, **environment}
        self.folder.mkdir(parents=True, exist_ok=True)

    def start(self, *arguments):
        with open(self.folder / f"{next(self.names)}.log", "w", encoding="utf-8") as log:
            process = subprocess.Popen([self.binary, *map(str, arguments)], env=self.environment, cwd=self.folder,
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.started.append(process)
        return process

    def start_scheduler(self):
        """A scheduler, and its address."""
        address = self.folder / f"address{next(self.names)}"
        process = self.start("scheduler", "--insecure", "--listen", "127.0.0.1:0", "--fleet", "127.0.0.1:0",
                             "--address-file", address)
        self.await_that(lambda: address.exists() and address.read_text(), process)
        return process, address.read_text().strip()

    def start_executor(self, *arguments):
        return self.start("executor", "--spill-dir", self.folder / "spill", *arguments)

    def client(self, address, *arguments, check=True):
        """Runs a command as a client of the schedulers at these addresses; on the lake itself if there are none."""
        ended = subprocess.run([self.binary, *map(str, arguments)], env={**self.environment, "LAKEWRIGHT_SCHEDULER": address},
                               cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if check and ended.returncode:
            raise SystemExit(f"{' '.join(map(str, arguments))}: exit code {ended.returncode}: {ended.stderr.strip()}")
        return ended

    def members(self, address):
        listed = self.client(address, "executors", "--json", check=False)
        return json.loads(listed.stdout).get("executors", []) if listed.returncode == 0 else []

    def await_members(self, address, count):
        self.await_that(lambda: len(self.members(address)) == count)

    def await_that(self, holds, *processes):
        until = time.monotonic() + START_SECONDS_MAX
        while not holds():
            if time.monotonic() > until or any(process.poll() is not None for process in processes):
                raise SystemExit(f"the fleet has not started; see the logs in {self.folder}")
            time.sleep(0.05)

    def end(self):
        for process in reversed(self.started):
            if process.poll() is None:
                process.terminate()
        for process in self.started:
            try:
                process.wait(END_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def fleet(binary, folder, executors, environment):
    """A fleet that is ready, and the address of its scheduler."""
    made = Fleet(binary, folder, environment)
    try:
        _, address = made.start_scheduler()
        for _ in range(executors):
            made.start_executor()
        made.await_members(address, executors)
        yield made, address
    finally:
        made.end()


def cpu_seconds(process):
    """CPU time of a process so far, from /proc."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {cores} cores, {memory:.0f} GiB of memory, {platform.system()} {platform.release()}"


def header(*lines):
    """What stands over every table of results."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout
    return [f"- Machine: {machine()}", f"- Date: {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}, commit {commit.strip()}",
            f"- Command: `{' '.join([f'bench/{Path(sys.argv[0]).name}', *sys.argv[1:]])}`", *lines, ""]


def keep(title, lines):
    """Puts a section into bench/RESULTS.md in place of the one with this title, and prints it."""
    section = "\n".join([f"## {title}", "", *lines]).rstrip() + "\n"
    print(section)
    old = RESULTS.read_text() if RESULTS.exists() else "# Benchmark results\n"
    head, *sections = old.split("\n## ")
    kept = {text.split("\n", 1)[0]: text for text in sections}
    kept[title] = section.removeprefix("## ")
    RESULTS.write_text("\n\n## ".join(text.strip("\n") for text in [head, *kept.values()]) + "\n")
    print("written to bench/RESULTS.md", file=sys.stderr)
