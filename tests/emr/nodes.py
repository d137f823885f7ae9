"""Fake nodes of an EMR cluster on one machine: the real bootstrap script, units and binary, in roots of their own.

Usage: nodes.py BINARY DEPLOY WORK      as root, in namespaces of its own: see tests/system/clusters
  BINARY   the program; DEPLOY: deploy/emr; WORK: a folder with jobs/ and raw/, and room for the nodes

A node is a root with the machine's /usr read only, a user hadoop, the JSON files of EMR's instance controller, a metadata
service, and stand-ins for `aws` (folders for buckets) and for systemd (init.py). What happens is printed as one JSON
document, step by step; the caller knows what it should be.
"""
import contextlib
import fcntl
import hashlib
import http.server
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

from init import PATH, Init, await_some, become

UID = 1500
FLOW = {
    "jobFlowId": "j-FAKE", "masterPrivateDnsName": "localhost",
    "instanceGroups": [{"instanceGroupId": "ig-1", "instanceRole": "Master"},
                       {"instanceGroupId": "ig-2", "instanceRole": "Core"},
                       {"instanceGroupId": "ig-3", "instanceRole": "Task"}],
}
AWS = """#!/usr/bin/python3
# Stand-in for the aws command: s3://BUCKET/KEY is /s3/BUCKET/KEY.
import shutil, sys
from pathlib import Path
words = [word for word in sys.argv[1:] if not word.startswith("-")]
if words[:2] != ["s3", "cp"] or len(words) != 4:
    sys.exit(f"aws: nobody here knows {words}")
source, target = (Path("/s3", word[5:]) if word.startswith("s3://") else Path(word) for word in words[2:])
try:
    target.parent.mkdir(parents=True, exist_ok=True)
    if "--recursive" in sys.argv:
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)
except OSError as error:
    sys.exit(f"aws: {error}")
"""
SYSTEMCTL = """#!/usr/bin/python3
import json, socket, sys
with socket.socket(socket.AF_UNIX) as line:
    line.connect("/run/init.sock")
    line.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
    sys.exit(int(line.makefile().readline()))
"""


class Node:
    """One node: its root, its init, its metadata service."""

    def __init__(self, work, name, group, address, metadata):
        self.root, self.address = work / "nodes" / name, address
        self.action = None
        self.init = Init(self)
        self.make_root(work, group, metadata)
        self.serve_systemctl()
        self.serve_metadata(metadata)

    def make_root(self, work, group, metadata):
        root = self.root
        for folder in ["usr", "proc", "dev", "run", "tmp", "etc/systemd/system", "mnt/var/log", "mnt/var/lib/info", "s3",
                       "lake", "raw"]:
            (root / folder).mkdir(parents=True, exist_ok=True)
        for link in ["bin", "sbin", "lib", "lib64"]:
            (root / link).symlink_to(f"usr/{link}")
        os.chmod(root / "tmp", 0o1777)
        bind("/usr", root / "usr")
        subprocess.run(["mount", "-t", "tmpfs", "none", root / "usr/local"], check=True)
        bind("/proc", root / "proc")
        bind("/dev", root / "dev")
        for shared in ["s3", "lake", "raw"]:
            bind(work / shared, root / shared)
        etc = root / "etc"
        for name in ["ld.so.cache", "ld.so.conf", "nsswitch.conf", "ssl", "alternatives", "localtime"]:
            source = Path("/etc", name)
            if source.is_dir():
                shutil.copytree(source, etc / name, symlinks=True, ignore=shutil.ignore_patterns("private"))
            elif source.exists():
                shutil.copy(source, etc / name)
        (etc / "passwd").write_text(f"root:x:0:0::/:/bin/sh\nhadoop:x:{UID}:{UID}::/:/bin/bash\n")
        (etc / "group").write_text(f"root:x:0:\nhadoop:x:{UID}:\n")
        host, port = metadata
        (etc / "hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()} primary.test\n{host} metadata.test\n")
        flow = FLOW if group == "ig-1" else {**FLOW, "masterPrivateDnsName": "primary.test"}
        instance = {"instanceGroupId": group, "isMaster": group == "ig-1"}
        (root / "mnt/var/lib/info/job-flow.json").write_text(json.dumps(flow, indent=1))
        (root / "mnt/var/lib/info/instance.json").write_text(json.dumps(instance, indent=1))
        programs = root / "usr/local/bin"
        programs.mkdir(parents=True)
        for name, text in [("aws", AWS), ("systemctl", SYSTEMCTL)]:
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)

    def serve_systemctl(self):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.root / "run/init.sock"))
        listener.listen()

        def serve():
            while True:
                line, _ = listener.accept()
                threading.Thread(target=answer, args=[line], daemon=True).start()

        def answer(line):
            with contextlib.closing(line), line.makefile("rw") as stream:
                code = self.init.systemctl(json.loads(stream.readline()))
                # Whoever asked may have been stopped by it.
                with contextlib.suppress(OSError):
                    stream.write(f"{code}\n")
                    stream.flush()

        threading.Thread(target=serve, daemon=True).start()

    def serve_metadata(self, address):
        node = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self, code, text):
                self.send_response(code)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def do_PUT(self):
                self.answer(200, "secret" if "x-aws-ec2-metadata-token-ttl-seconds" in self.headers else "")

            def do_GET(self):
                values = {"local-ipv4": node.address, "spot/instance-action": node.action}
                value = values.get(self.path.removeprefix("/latest/meta-data/"))
                if self.headers.get("X-aws-ec2-metadata-token") != "secret":
                    self.answer(401, "")
                else:
                    self.answer(200 if value else 404, value or "")

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(address, Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def spawn(self, words, environment=None, user=None, directory="/", output=subprocess.DEVNULL):
        environment = {"PATH": PATH, "NO_COLOR": "1", **(environment or {})}
        return subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                preexec_fn=become(str(self.root), user, directory))

    def run(self, *words, user=None, **environment):
        """Runs a command to its end: its exit code, and what it printed."""
        log = self.root / "tmp/output"
        with open(log, "wb") as output:
            code = self.spawn(list(words), environment, user, "/", output).wait(180)
        return {"code": code, "output": log.read_text("utf-8", "replace")}

    def bootstrap(self, sha256):
        return self.run("/bin/bash", "/s3/bucket/c/bootstrap.sh", "--from", "s3://bucket/c/node", "--sha256", sha256)

    def reboot(self):
        self.init.halt()
        for entry in (self.root / "run").iterdir():
            if entry.name != "init.sock":
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self.init.boot()

    def text(self, path):
        return (self.root / path).read_text("utf-8")


def bind(source, target):
    subprocess.run(["mount", "--bind", source, target], check=True)


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(sock, 0x8913, request))[1]
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", flags | 1))


def fill_bucket(binary, deploy, work):
    """What `cluster create` puts there; gives the checksum of SHA256SUMS."""
    node = work / "s3/bucket/c/node"
    node.mkdir(parents=True)
    shutil.copy(deploy / "bootstrap.sh", node.parent)
    for file in (deploy / "node").iterdir():
        shutil.copy(file, node / file.name)
    # A debug build is ten times as large with its symbols.
    if subprocess.run(["strip", "-o", node / "lakewright", binary], check=False).returncode != 0:
        shutil.copy(binary, node / "lakewright")
    (node / "lakewright.conf").write_text(
        "# the cluster's settings\nLAKEWRIGHT_LAKE=/lake\nLAKEWRIGHT_RAW=/raw\n"
        "LAKEWRIGHT_CERTS=/var/lib/lakewright/certs\nLAKEWRIGHT_TOKEN_FILE=/var/lib/lakewright/tokens.json\n"
        "CLIENT_FOLDER=s3://bucket/c/client\nAWS_EC2_METADATA_SERVICE_ENDPOINT=http://metadata.test:1338\n"
        "SPOT_WATCH_SECONDS=0.2\nBUSY_WATCH_SECONDS=0.2\n")
    (node / "tokens.json").write_text('{"tokens": []}')
    sums = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(node.iterdir()))
    (node / "SHA256SUMS").write_text(sums)
    for folder in [work / "lake", work / "s3/bucket/c/client"]:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)
    return hashlib.sha256(sums.encode()).hexdigest()


def executors(primary):
    """Addresses of the executors that the scheduler knows."""
    answer = primary.run("/bin/sh", "-c", "set -a; . /var/lib/lakewright/client.env; . /run/lakewright/node.env; "
                         "unset LAKEWRIGHT_FLEET; LAKEWRIGHT_SCHEDULER=https://$NODE_ADDRESS:50040 "
                         "exec lakewright executors --json", user="hadoop")
    if answer["code"] != 0:
        return None
    return [executor["host"].split(":")[0] for executor in json.loads(answer["output"])["executors"]]


def main(binary, deploy, work):
    loopback_up()
    told = {}
    sha256 = fill_bucket(binary, deploy, work)
    stranger = Node(work, "stranger", "ig-2", "127.0.0.4", ("127.0.1.4", 1338))
    told["wrong_sum"] = stranger.bootstrap("0" * 64)
    told["wrong_sum_left"] = (stranger.root / "usr/local/lib/lakewright").exists()

    primary = Node(work, "primary", "ig-1", "127.0.0.1", ("127.0.1.1", 1338))
    core = Node(work, "core", "ig-2", "127.0.0.2", ("127.0.1.2", 1338))
    task = Node(work, "task", "ig-3", "127.0.0.3", ("127.0.1.3", 1338))
    told["primary"] = primary.bootstrap(sha256)
    told["core"] = core.bootstrap(sha256)
    told["task"] = task.bootstrap(sha256)
    told["core_settings"] = core.text("run/lakewright/node.env")
    told["authority"] = (work / "s3/bucket/c/client/ca.pem").read_text("utf-8")[:27]
    both = lambda: sorted(executors(primary) or []) == ["127.0.0.2", "127.0.0.3"]
    await_some("two executors join", both)

    told["step"] = primary.run("lakewright-step", "s3://bucket/jobs/music", user="hadoop")
    told["step_of_broken_job"] = primary.run("lakewright-step", "s3://bucket/jobs/broken", user="hadoop")
    told["step_of_nothing"] = primary.run("lakewright-step", "s3://bucket/jobs/none", user="hadoop")

    scheduler = primary.init.unit("lakewright-scheduler.service")
    starts = scheduler.starts
    told["again"] = primary.bootstrap(sha256)
    told["again_restarts"] = scheduler.starts - starts

    executor = core.init.unit("lakewright-executor.service")
    executor.process.kill()
    await_some("a killed executor is started again", lambda: executor.starts == 2)
    await_some("it joins", both)
    core.reboot()
    await_some("a rebooted node joins", both)
    primary.reboot()
    await_some("executors join a rebooted primary", both)
    told["step_after_reboots"] = primary.run("lakewright-step", "s3://bucket/jobs/music", user="hadoop")

    drained = task.init.unit("lakewright-executor.service")
    task.action = '{"action": "terminate", "time": "2018-11-13T12:00:00Z"}'
    await_some("the executor of a spot instance stops", lambda: not drained.is_active())
    told["drained_exit_code"] = drained.exit_code
    await_some("the scheduler knows", lambda: executors(primary) == ["127.0.0.2"])
    decommissioned = core.init.unit("lakewright-executor.service")
    told["shutdown_action"] = core.run("/mnt/var/lib/instance-controller/public/shutdown-actions/lakewright")
    told["decommissioned"] = not decommissioned.is_active() and decommissioned.exit_code
    # Without executors a run stays where it is, so that it is surely seen.
    told["detached"] = primary.run("lakewright-step", "s3://bucket/jobs/music", "--full-refresh", "--detach", user="hadoop")
    busy = primary.root / "emr/metricscollector/isbusy"
    busy.unlink(missing_ok=True)
    await_some("a cluster with a run is busy", busy.exists)
    for node in [primary, core, task]:
        node.init.halt(force=False)
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
