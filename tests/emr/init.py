"""A stand-in for systemd in a fake node: what the units of deploy/emr need of it, and no more.

It knows, of the unit files that lie in the node's root, `User`, `WorkingDirectory`, `EnvironmentFile`, `ExecStartPre`
(also with `+`), `ExecStart`, `Restart`, `RestartSec`, `TimeoutStopSec`, `StandardOutput` and `StandardError` with `append:`.
Anything else of section Service is refused, so that a unit cannot begin to rely on what nobody does here.
"""
import os
import pwd
import re
import shlex
import signal
import subprocess
import threading
import time
from pathlib import Path

KNOWN = {"User", "WorkingDirectory", "EnvironmentFile", "ExecStartPre", "ExecStart", "Restart", "RestartSec",
         "TimeoutStopSec", "LimitNOFILE", "StandardOutput", "StandardError"}
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


class Unit:
    """A unit, and its process while it runs."""

    def __init__(self, node, name):
        self.node, self.name = node, name
        self.thread = self.process = None
        self.stopping = threading.Event()
        self.starts = 0
        self.exit_code = None

    def keys(self):
        section, found = None, {}
        for line in (self.node.root / f"etc/systemd/system/{self.name}").read_text("utf-8").splitlines():
            if line.startswith("["):
                section = line.strip("[]")
            elif "=" in line and not line.startswith("#") and section == "Service":
                key, value = line.split("=", 1)
                if key not in KNOWN:
                    raise ValueError(f"{self.name}: nobody here knows {key}")
                found.setdefault(key, []).append(value)
        return found

    def is_active(self):
        return self.thread is not None and self.thread.is_alive()

    def start(self):
        if self.is_active():
            return
        self.keys()
        self.stopping.clear()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def stop(self, force=False):
        if not self.is_active():
            return
        self.stopping.set()
        timeout = float(self.keys().get("TimeoutStopSec", ["90"])[0])
        process = self.process
        if process and process.poll() is None:
            process.send_signal(signal.SIGKILL if force else signal.SIGTERM)
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
        self.thread.join()

    def run(self):
        while not self.stopping.is_set():
            keys = self.keys()
            code = self.once(keys)
            restart = keys.get("Restart", ["no"])[0]
            if restart == "no" or (restart == "on-failure" and code == 0):
                return
            self.stopping.wait(float(keys.get("RestartSec", ["0.1"])[0]))

    def once(self, keys):
        for command in keys.get("ExecStartPre", []):
            user = None if command.startswith("+") else keys.get("User", [None])[0]
            if self.spawn(keys, command.lstrip("+"), user).wait() != 0:
                return 1
        if self.stopping.is_set():
            return 0
        self.starts += 1
        self.process = self.spawn(keys, keys["ExecStart"][0], keys.get("User", [None])[0])
        self.exit_code = self.process.wait()
        return self.exit_code

    def spawn(self, keys, command, user):
        environment = {}
        for file in keys.get("EnvironmentFile", []):
            path = self.node.root / file.lstrip("-").lstrip("/")
            if path.exists():
                pairs = (line.split("=", 1) for line in path.read_text("utf-8").splitlines()
                         if "=" in line and not line.startswith("#"))
                environment.update({key: value.strip('"') for key, value in pairs})
            elif not file.startswith("-"):
                raise FileNotFoundError(path)
        words = [re.sub(r"\$\{(\w+)\}", lambda name: environment.get(name[1], ""), word)
                 for word in shlex.split(command)]
        output = keys.get("StandardOutput", ["append:/mnt/var/log/units.log"])[0].removeprefix("append:")
        with open(self.node.root / output.lstrip("/"), "ab") as log:
            return self.node.spawn(words, environment, user, keys.get("WorkingDirectory", ["/"])[0], log)


class Init:
    """All units of one node."""

    def __init__(self, node):
        self.node, self.units, self.lock = node, {}, threading.Lock()

    def unit(self, name):
        return self.units.setdefault(name, Unit(self.node, name))

    def wants(self):
        return self.node.root / "etc/systemd/system/multi-user.target.wants"

    def systemctl(self, arguments):
        """Does what `systemctl` was asked, and gives its exit code."""
        verb, *names = [argument for argument in arguments if not argument.startswith("-")]
        with self.lock:
            for name in names:
                if verb == "enable":
                    self.wants().mkdir(exist_ok=True)
                    link = self.wants() / name
                    if not link.is_symlink():
                        link.symlink_to(f"../{name}")
                elif verb in ("start", "restart"):
                    if verb == "restart":
                        self.unit(name).stop()
                    self.unit(name).start()
                elif verb == "stop":
                    self.unit(name).stop()
                elif verb == "is-active":
                    return 0 if self.unit(name).is_active() else 3
                else:
                    return 1
        return 0 if names or verb == "daemon-reload" else 1

    def boot(self):
        for link in sorted(self.wants().iterdir()):
            self.unit(link.name).start()

    def halt(self, force=True):
        for unit in self.units.values():
            unit.stop(force)


def become(root, user, directory):
    """Run in the child, between fork and exec."""
    def enter():
        os.chroot(root)
        os.chdir(directory)
        if user:
            entry = pwd.getpwnam(user)
            os.setgroups([])
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)
    return enter


def await_some(what, condition, seconds=90):
    """Waits until `condition` gives something; the time only bounds the waiting."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"in vain: {what}")
        time.sleep(0.05)
