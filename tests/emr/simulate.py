"""A cluster of EMR in containers, from `cluster create` to `cluster delete`, with a job as a step and nodes that go.

Usage: simulate.py PROGRAM CLIENT WORK
  PROGRAM  the program for nodes, of deploy/build; CLIENT: the program of this machine
  WORK     a project with jobs/music and data/raw; what the nodes have made of it comes to WORK/nodes/lake
Needs Docker, and deploy/docker/base-image once.

Who plays what: an S3 server in a container, which checks signatures and evaluates policies, is S3, IAM, EC2 and STS;
cloud.py is EMR; this program does what EMR does with its answers: it starts a container for each node, with systemd, the
files of EMR's instance controller and a metadata service, runs the bootstrap action and the steps, and takes nodes away.
The keys of nodes are those of the node role that `cluster create` has made, and come from the metadata service only.
What happens is printed as one JSON document; the caller knows what it should be.
"""
import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
from init import await_some

HERE = Path(__file__).resolve().parent
REGION, BUCKET, FOLDER = "eu-central-1", "music", "lakewright/music"
PACKAGES = ["ministack==1.5.33", "awscli==1.46.3"]
# The server trusts its root's key without a signature: it is this program's, and no node's.
ROOT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
SPEC = """name = "music"
region = "eu-central-1"
release = "emr-7.13.0"
subnet = "{subnet}"
binary = "program"
[storage]
lake = "s3://music/lake"
raw = ["s3://music/raw"]
artifacts = "s3://music/lakewright"
[primary]
instance_types = ["m6i.xlarge"]
[core]
instance_types = ["r6id.xlarge"]
count = 2
[task]
instance_types = ["r6id.xlarge"]
count = 1
market = "spot"
[settings]
log = "info"
s3_endpoint = "http://s3:9000"
"""


# Steps that are submitted until one is caught in its middle.
STEPS_MAX = 20


def docker(*words, **options):
    """Runs docker to its end, and gives what it printed."""
    done = subprocess.run(["docker", *map(str, words)], check=False, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"docker {' '.join(map(str, words))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def build_images():
    """Images of the S3 server and of nodes, once for each state of what they are made from."""
    sources = sorted((HERE / "containers").iterdir())
    known = hashlib.sha256(b"".join(file.read_bytes() for file in sources) + repr(PACKAGES).encode()).hexdigest()[:12]
    images = {target: f"lakewright-emr-{target}:{known}" for target in ("s3", "node")}
    for target, image in images.items():
        if docker("image", "ls", "--quiet", image):
            continue
        with tempfile.TemporaryDirectory() as folder:
            for file in sources:
                shutil.copy(file, folder)
            subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest",
                            f"{folder}/wheels", "--only-binary=:all:", "--python-version", "3.11", "--implementation",
                            "cp", "--platform", "manylinux2014_x86_64", "--platform", "any", *PACKAGES], check=True)
            docker("build", "--target", target, "--tag", image, folder)
    return images


class Simulation:
    """All containers and processes; everything ends with it."""

    def __init__(self, work, images, stack):
        self.work, self.images, self.stack, self.nodes = work, images, stack, {}
        self.name = f"lakewright-emr-{os.getpid()}"
        docker("network", "create", self.name)
        stack.callback(docker, "network", "rm", self.name)
        self.run("s3", images["s3"], "--network-alias", "s3", "--publish", "127.0.0.1::9000")
        self.s3_endpoint = f"http://{docker('port', self.name + '-s3', '9000').splitlines()[0]}"
        await_some("the S3 server answers", self.s3_answers)
        self.emr_endpoint = self.start_emr()
        for name in ("s3", "iam", "ec2", "sts"):
            setattr(self, name, self.client(name, self.s3_endpoint))
        self.emr = self.client("emr", self.emr_endpoint)

    @staticmethod
    def client(service, endpoint):
        return boto3.client(service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id="test",
                            aws_secret_access_key="test")

    def run(self, name, image, *options):
        docker("run", "--detach", "--name", f"{self.name}-{name}", "--network", self.name, *options, image)
        self.stack.callback(docker, "rm", "--force", "--volumes", f"{self.name}-{name}")

    def s3_answers(self):
        with contextlib.suppress(Exception):
            return self.client("s3", self.s3_endpoint).list_buckets()

    def start_emr(self):
        server = subprocess.Popen([sys.executable, HERE / "cloud.py"], env={**os.environ, "CLOUD_ANY_ROLE": "1"},
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.stack.callback(server.wait)
        self.stack.callback(server.kill)
        return json.loads(server.stdout.readline())["endpoint"]

    def lakewright(self, client, *words, **variables):
        """Runs the program of this machine as an operator would: its code, and what it printed."""
        keys = {"AWS_ENDPOINT_URL": self.s3_endpoint, "AWS_ENDPOINT_URL_EMR": self.emr_endpoint, **ROOT}
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAKEWRIGHT_"))}
        done = subprocess.run([client, *words], cwd=self.work / "nodes", capture_output=True, text=True, check=False,
                              env={**environment, **keys, **variables, "NO_COLOR": "1"}, stdin=subprocess.DEVNULL)
        return {"code": done.returncode, "output": done.stdout + done.stderr, "printed": done.stdout}

    def fill_bucket(self):
        self.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        for folder, prefix in [("data/raw", "raw"), ("jobs/music", f"{FOLDER}/jobs/music")]:
            files = [path for path in (self.work / folder).rglob("*") if path.is_file()]
            for path in files:
                key = f"{prefix}/{path.relative_to(self.work / folder).as_posix()}"
                self.s3.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())

    def start_nodes(self, cluster):
        """What EMR does with a cluster: machines by its groups, their files, its bootstrap action."""
        groups = {group["Id"]: group for group in self.emr.list_instance_groups(ClusterId=cluster)["InstanceGroups"]}
        roles = [groups[node["InstanceGroupId"]]["InstanceGroupType"]
                 for node in self.emr.list_instances(ClusterId=cluster)["Instances"]]
        # Executors may well be there before the scheduler.
        names = [f"{role.lower()}-{number}" for number, role in enumerate(sorted(roles))]
        with ThreadPoolExecutor(len(names)) as pool:
            return dict(zip(names, pool.map(lambda name: self.start_node(cluster, name), names), strict=True))

    def start_node(self, cluster, name):
        self.nodes[name] = node = Node(self, cluster, name)
        return node.bootstrap()

    def run_step(self, cluster, name, *options):
        """A step as a user adds it, run as EMR runs it: by command-runner.jar, as hadoop, on the primary."""
        arguments = ["lakewright-step", f"s3://{BUCKET}/{FOLDER}/jobs/music", *options]
        self.emr.add_job_flow_steps(JobFlowId=cluster, Steps=[{
            "Name": name, "ActionOnFailure": "CONTINUE",
            "HadoopJarStep": {"Jar": "command-runner.jar", "Args": arguments}}])
        step = next(step for step in self.emr.list_steps(ClusterId=cluster)["Steps"] if step["Name"] == name)
        assert step["Config"]["Jar"] == "command-runner.jar", step
        return self.primary().run(*step["Config"]["Args"], user="hadoop")

    def primary(self):
        return next(node for name, node in self.nodes.items() if name.startswith("master"))


class Node:
    """One node: a container that boots, with what EMR and EC2 put there."""

    def __init__(self, simulation, cluster, name):
        self.container, self.s3 = f"{simulation.name}-{name}", simulation
        role, self.values = name.split("-")[0], {}
        simulation.run(name, simulation.images["node"], "--hostname", name, "--network-alias", f"{name}.internal",
                       "--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--security-opt", "seccomp=unconfined",
                       "--cgroupns", "host", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw",
                       "--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec")
        self.address = docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
                              self.container)
        groups = [{"instanceGroupId": f"ig-{kind}", "instanceRole": kind.capitalize()} for kind in
                  ("master", "core", "task")]
        is_master = role == "master"
        self.write("/mnt/var/lib/info/instance.json", {"instanceGroupId": f"ig-{role}", "isMaster": is_master})
        self.write("/mnt/var/lib/info/job-flow.json", {
            "jobFlowId": cluster, "instanceGroups": groups,
            "masterPrivateDnsName": "localhost" if is_master else "master-2.internal"})
        self.cluster = cluster
        self.set_metadata(**{"local-ipv4": self.address, **self.credentials()})
        for user in ("root", "hadoop"):
            docker("exec", "--interactive", "--user", user, self.container, "sh", "-c", "mkdir -p ~/.aws && cat >~/.aws/config",
                   input="[default]\nendpoint_url = http://s3:9000\n")
        await_some(f"{name} has booted", lambda: self.run("systemctl", "is-active", "metadata.service")["code"] == 0)

    def credentials(self):
        """Keys of the role that the cluster's instance profile names, as EC2 gives them to an instance."""
        profile = self.s3.emr.describe_cluster(ClusterId=self.cluster)["Cluster"]["Ec2InstanceAttributes"]
        role = self.s3.iam.get_instance_profile(InstanceProfileName=profile["IamInstanceProfile"])
        role = role["InstanceProfile"]["Roles"][0]
        keys = self.s3.sts.assume_role(RoleArn=role["Arn"], RoleSessionName="i-0123456789abcdef0")["Credentials"]
        path = "iam/security-credentials"
        return {path: role["RoleName"], f"{path}/{role['RoleName']}": json.dumps({
            "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z",
            "AccessKeyId": keys["AccessKeyId"], "SecretAccessKey": keys["SecretAccessKey"], "Token": keys["SessionToken"],
            "Expiration": keys["Expiration"].strftime("%Y-%m-%dT%H:%M:%SZ")})}

    def set_metadata(self, **values):
        self.values.update(values)
        self.write("/opt/metadata/values.json", self.values)

    def write(self, path, content):
        text = content if isinstance(content, str) else json.dumps(content)
        script = f"mkdir -p {os.path.dirname(path)} && cat >{path}.new && chmod a+r {path}.new && mv {path}.new {path}"
        docker("exec", "--interactive", self.container, "sh", "-c", script, input=text)

    def run(self, *words, user="root"):
        """Runs a command to its end: its exit code, and what it printed."""
        done = subprocess.run(["docker", "exec", "--user", user, self.container, *words], capture_output=True, text=True,
                              check=False, timeout=900)
        return {"code": done.returncode, "output": done.stdout + done.stderr}

    def bootstrap(self):
        action, = self.s3.emr.list_bootstrap_actions(ClusterId=self.cluster)["BootstrapActions"]
        # EMR brings the script with its own service; here the aws command does.
        script = 'aws s3 cp --only-show-errors "$0" /tmp/action && bash /tmp/action "$@"'
        return self.run("bash", "-c", script, action["ScriptPath"], *action["Args"], user="hadoop")

    def tasks(self):
        """How many tasks its executor runs, as it has last said."""
        told = self.run("sh", "-c", "set -a; . /etc/lakewright/lakewright.conf; . /run/lakewright/node.env; unset "
                        "LAKEWRIGHT_FLEET; exec lakewright health --executor --json", user="hadoop")
        with contextlib.suppress(ValueError):
            return sum(executor["tasks"] for executor in json.loads(told["output"])["executors"])
        return 0

    def is_active(self, unit):
        return self.run("systemctl", "is-active", "--quiet", unit)["code"] == 0

    def kill(self):
        docker("kill", self.container)

    def logs(self):
        shown = self.run("sh", "-c", "tail -n 30 /mnt/var/log/lakewright/*.log")
        return f"{self.container}:\n{shown['output']}"


def simulate(simulation, client, told):
    subnet = simulation.ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    (simulation.work / "nodes/cluster.toml").write_text(SPEC.format(subnet=subnet), "utf-8")
    simulation.fill_bucket()
    lakewright = lambda *words, **variables: simulation.lakewright(client, *words, **variables)
    told["create"] = lakewright("cluster", "create", "--yes", "--no-wait")
    if told["create"]["code"] != 0:
        raise RuntimeError("the cluster was not made")
    cluster = told["create"]["printed"].strip()
    told["bootstrap"] = simulation.start_nodes(cluster)

    told["client_config"] = lakewright("cluster", "client-config")
    kept = simulation.work / "nodes/.lakewright/clusters/music"
    scheduler = {"LAKEWRIGHT_SCHEDULER": f"https://{simulation.primary().address}:50040",
                 "LAKEWRIGHT_CA": str(kept / "ca.pem"), "LAKEWRIGHT_TOKEN": (kept / "token").read_text("utf-8").strip()}

    def executors():
        answer = lakewright("executors", "--json", **scheduler)
        return len(json.loads(answer["printed"])["executors"]) if answer["code"] == 0 else None

    await_some("two core nodes and a task node join", lambda: executors() == 3)
    core, task = simulation.nodes["core-0"], simulation.nodes["task-3"]
    told["denied"] = [core.run("sh", "-c", f"echo x >/tmp/x; aws s3 cp /tmp/x s3://{BUCKET}/{key}", user="hadoop")
                      for key in ("raw/x", "elsewhere/x", f"{FOLDER}/node-x/lakewright")]

    def begin_step(name, node):
        """Submits a step until the node is seen to work for one. A fast program may be done before anybody has looked."""
        for number in range(1, STEPS_MAX + 1):
            step = pool.submit(simulation.run_step, cluster, f"{name} {number}", "--full-refresh")
            await_some(f"{node.container} works", lambda: node.tasks() > 0 or step.done())
            if not step.done():
                return step, number
            if step.result()["code"] != 0:
                raise RuntimeError(f"an undisturbed step: {step.result()}")
        raise RuntimeError(f"{STEPS_MAX} steps were over before {node.container} was seen to work")

    with ThreadPoolExecutor(1) as pool:
        step, told["steps"] = begin_step("music", task)
        task.set_metadata(**{"spot/instance-action": '{"action": "terminate", "time": "2026-01-01T00:02:00Z"}'})
        await_some("its executor drains", lambda: not task.is_active("lakewright-executor.service"), 130)
        task.kill()
        told["step"] = step.result()
        # EMR makes up for a spot node; that one goes without a word.
        told["bootstrap"]["task-4"] = simulation.start_node(cluster, "task-4")
        await_some("another task node joins", lambda: executors() == 3)
        task = simulation.nodes["task-4"]
        step, _ = begin_step("music again", task)
        task.kill()
        told["step_again"] = step.result()
    told["status"] = lakewright("cluster", "status", "--json")
    download(simulation)
    told["delete"] = lakewright("cluster", "delete", "--yes", "--logs")
    told["left"] = {
        "roles": [role["RoleName"] for role in simulation.iam.list_roles()["Roles"] if "music" in role["RoleName"]],
        "groups": [group["GroupName"] for group in simulation.ec2.describe_security_groups()["SecurityGroups"]
                   if "music" in group["GroupName"]],
        "objects": simulation.s3.list_objects_v2(Bucket=BUCKET, Prefix="lakewright/").get("KeyCount"),
    }


def download(simulation):
    pages = simulation.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="lake/")
    for entry in (entry for page in pages for entry in page.get("Contents", [])):
        path = simulation.work / "nodes" / entry["Key"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(simulation.s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read())


def main(program, client, work):
    work, told, begun = Path(work).resolve(), {}, time.monotonic()
    (work / "nodes").mkdir()
    shutil.copy(program, work / "nodes/program")
    images = build_images()
    told["images_s"] = round(time.monotonic() - begun)
    with contextlib.ExitStack() as stack:
        simulation = Simulation(work, images, stack)
        try:
            simulate(simulation, str(Path(client).resolve()), told)
        except Exception:
            print(json.dumps(told, indent=1), *(node.logs() for node in simulation.nodes.values()), sep="\n", file=sys.stderr)
            raise
    told["seconds"] = round(time.monotonic() - begun)
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
