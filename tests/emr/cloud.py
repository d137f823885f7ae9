"""The rest of AWS for the tests of clusters: moto's server, the calls of EMR that it lacks, and faults.

Usage: cloud.py            prints {"endpoint": ...}, then is the server until it is ended

Beside AWS's calls it takes these, all with POST:
  /control/fresh           forgets everything; makes the bucket `clusters`; gives {"subnet": ..., "vpc": ...}
  /control/fault?KIND=N    the Nth call from now on that changes something is refused (KIND `refuse`) or done and its
                           answer lost (KIND `lose`); 0 is none. Gives the changing calls that came since the last one
  /control/loopback        from now on task nodes get addresses of loopback, 127.0.1.1 and so on, each once
  /control/task-nodes      of the newest cluster: {"wanted": N, "addresses": [...], "resizes": [{"wanted": N, "leave": [...]}]}
  /control/listing         everything of the account that somebody made: {kind: [names]}
"""
import io
import json
import os
import re
import sys
from urllib.parse import parse_qs

# Thousands of machine images that nobody here asks for.
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")

from moto import backends
from moto.core.responses import ActionResult, EmptyResult
from moto.emr.models import Instance, InstanceGroup
from moto.emr.responses import ElasticMapReduceResponse
from moto.iam.models import AWSManagedPolicy
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

ACCOUNT, REGION, BUCKET = "123456789012", os.environ.get("CLOUD_REGION", "eu-central-1"), "clusters"
# Whether roles and subnets are another server's, which is then the one to know them.
ANY_ROLE = "CLOUD_ANY_ROLE" in os.environ
READS = re.compile(r"^(Get|List|Describe|Head)")

# Of AWS's own policies the only one that anybody here attaches: to load all of them takes longer than a test.
EMR_POLICY = AWSManagedPolicy.from_data("AmazonEMRServicePolicy_v2", ACCOUNT, "us-east-1", {
    "DefaultVersionId": "v1", "Path": "/service-role/", "Document": {}, "CreateDate": "2021-03-12T01:11:00+00:00",
    "UpdateDate": "2021-03-12T01:11:00+00:00"})


def backend(service, region=REGION):
    return backends.get_backend(service)[ACCOUNT][region]


# What moto's EMR lacks.

def list_security_configurations(self):
    return ActionResult({"SecurityConfigurations": [{"Name": name} for name in self.backend.security_configurations]})


def fleets_of(cluster):
    if not hasattr(cluster, "fleets"):
        cluster.fleets = []
    return cluster.fleets


def plain(value):
    """moto's dictionaries answer to two spellings of a key; this has AWS's alone."""
    return json.loads(json.dumps(getattr(value, "original_dict", lambda: value)(), default=str))


def add_fleet(self, cluster, asked):
    asked = plain(asked)
    on_demand, spot = asked.get("TargetOnDemandCapacity", 0), asked.get("TargetSpotCapacity", 0)
    fleet = {
        "Id": f"if-{len(fleets_of(cluster)) + 1:013d}", "Name": asked.get("Name"), "InstanceFleetType": asked["InstanceFleetType"],
        "TargetOnDemandCapacity": on_demand, "TargetSpotCapacity": spot, "ProvisionedOnDemandCapacity": on_demand,
        "ProvisionedSpotCapacity": spot, "Status": {"State": "RUNNING"},
        "InstanceTypeSpecifications": [{"InstanceType": one["InstanceType"]} for one in asked["InstanceTypeConfigs"]],
    }
    fleets_of(cluster).append(fleet)
    cluster.instance_collection_type = "INSTANCE_FLEET"
    kind = asked["InstanceTypeConfigs"][0]["InstanceType"]
    group = InstanceGroup(cluster.id, on_demand + spot, asked["InstanceFleetType"], kind, instance_group_id="")
    if on_demand + spot:
        made = backend("ec2").run_instances("ami-12c6146b", on_demand + spot, None, [], instance_type=kind,
                                            is_instance_type_default=False)
        for instance in made.instances:
            cluster.add_instance(Instance(ec2_instance=instance, instance_group=group, instance_fleet_id=fleet["Id"]))
        move_to_loopback(cluster)
    return fleet


run_job_flow_of_moto = ElasticMapReduceResponse.run_job_flow


def run_job_flow(self):
    # EMR refuses what was not made before; moto takes any name. Where another server has the roles, it knows.
    names = [role.name for role in backend("iam", "aws").roles.values()]
    profiles = [profile.name for profile in backend("iam", "aws").instance_profiles.values()]
    if not ANY_ROLE and (self._get_param("ServiceRole") not in names or self._get_param("JobFlowRole") not in profiles):
        raise InvalidRequest("Invalid InstanceProfile or ServiceRole")
    result = run_job_flow_of_moto(self)
    for fleet in self._get_param("Instances.InstanceFleets", []):
        add_fleet(self, self.backend.clusters[result.result["JobFlowId"]], fleet)
    policy = self._get_param("AutoTerminationPolicy")
    if policy:
        self.backend.clusters[result.result["JobFlowId"]].idle = plain(policy)
    move_to_loopback(self.backend.clusters[result.result["JobFlowId"]])
    return result


def list_instance_fleets(self):
    return ActionResult({"InstanceFleets": fleets_of(self.backend.clusters[self._get_param("ClusterId")])})


def add_instance_fleet(self):
    cluster = self.backend.clusters[self._get_param("ClusterId")]
    fleet = add_fleet(self, cluster, self._get_param("InstanceFleet"))
    return ActionResult({"ClusterId": cluster.id, "InstanceFleetId": fleet["Id"]})


def modify_instance_fleet(self):
    asked = plain(self._get_param("InstanceFleet"))
    for fleet in fleets_of(self.backend.clusters[self._get_param("ClusterId")]):
        if fleet["Id"] == asked["InstanceFleetId"]:
            for kind in ("OnDemand", "Spot"):
                if asked.get(f"Target{kind}Capacity") is not None:
                    fleet[f"Target{kind}Capacity"] = fleet[f"Provisioned{kind}Capacity"] = asked[f"Target{kind}Capacity"]
    return EmptyResult()


# Whether task nodes have addresses of loopback, so that processes of this machine can be them, and the last one given.
loopback = {"on": False, "last": 0}


def move_to_loopback(cluster):
    for node in cluster.ec2_instances if loopback["on"] else []:
        interface = node.ec2_instance.nics[0]
        if node.instance_group.role == "TASK" and not interface.private_ip_address.startswith("127."):
            loopback["last"] += 1
            interface.private_ip_address = f"127.0.1.{loopback['last']}"


def modify_instance_groups(self):
    for asked in map(plain, self._get_param("InstanceGroups", [])):
        group = self.backend.instance_groups[asked["InstanceGroupId"]]
        cluster = self.backend.clusters[group.cluster_id]
        wanted = int(asked["InstanceCount"])
        policy = asked.get("ShrinkPolicy", {}).get("InstanceResizePolicy", {})
        named = policy.get("InstancesToTerminate", [])
        nodes = [node for node in cluster.ec2_instances if node.instance_group is group]
        if set(named) - {node.ec2_instance_id for node in nodes}:
            raise InvalidRequest("an instance to terminate is not of this group")
        leave = [node.private_ip_address for node in nodes if node.ec2_instance_id in named]
        # Those that are named go first, then whoever EMR likes.
        stay = sorted(nodes, key=lambda node: node.ec2_instance_id in named)[:wanted]
        cluster.ec2_instances = [node for node in cluster.ec2_instances if node.instance_group is not group or node in stay]
        if wanted > len(nodes):
            self.backend.run_instances(cluster.id, {"instance_count": wanted - len(nodes), "instance_type": group.instance_type}, group)
        group.set_instance_count(wanted)
        move_to_loopback(cluster)
        cluster.resizes = [*getattr(cluster, "resizes", []), {"wanted": wanted, "leave": sorted(leave)}]
    return EmptyResult()


def task_nodes():
    cluster = list(backend("emr").clusters.values())[-1]
    nodes = [node for node in cluster.ec2_instances if node.instance_group.role == "TASK"]
    return {"wanted": len(nodes), "addresses": sorted(node.private_ip_address for node in nodes),
            "resizes": getattr(cluster, "resizes", [])}


def add_instance_groups(self):
    cluster = self._get_param("JobFlowId")
    groups = self.backend.add_instance_groups(cluster, self._get_param("InstanceGroups", []))
    # The ids, as EMR gives them; moto gives the groups.
    return ActionResult({"JobFlowId": cluster, "InstanceGroupIds": [group.id for group in groups]})


def get_auto_termination_policy(self):
    cluster = self.backend.clusters[self._get_param("ClusterId")]
    policy = getattr(cluster, "idle", None)
    return ActionResult({"AutoTerminationPolicy": policy} if policy else {})


def put_auto_termination_policy(self):
    self.backend.clusters[self._get_param("ClusterId")].idle = plain(self._get_param("AutoTerminationPolicy"))
    return EmptyResult()


def remove_auto_termination_policy(self):
    self.backend.clusters[self._get_param("ClusterId")].idle = None
    return EmptyResult()


def get_managed_scaling_policy(self):
    return ActionResult({})


class InvalidRequest(Exception):
    """Told to the client as EMR's ValidationException."""


# An address without a region would be us-east-1's.
ElasticMapReduceResponse.get_region_from_url = lambda *_: REGION
for added in [list_security_configurations, run_job_flow, add_instance_groups, modify_instance_groups, list_instance_fleets, add_instance_fleet,
              modify_instance_fleet, get_auto_termination_policy, put_auto_termination_policy, remove_auto_termination_policy,
              get_managed_scaling_policy]:
    setattr(ElasticMapReduceResponse, added.__name__, added)


class Front:
    """What stands before moto: faults and the control of them."""

    def __init__(self, application):
        self.application, self.kind, self.at, self.changes = application, "refuse", 0, []

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        if path.startswith("/control/"):
            return self.answer(start_response, "200 OK", json.dumps(self.control(path.removeprefix("/control/"), environ)))
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        action = self.action(environ, body)
        if READS.match(action):
            return self.forward(environ, start_response)
        self.changes.append(action)
        if len(self.changes) != self.at:
            return self.forward(environ, start_response)
        if self.kind == "refuse":
            return self.refuse(environ, start_response, "403 Forbidden", "AccessDenied", f"{action} is refused by the test")
        list(self.forward(environ, lambda *_: lambda _: None))
        return self.refuse(environ, start_response, "500 Internal Server Error", "InternalFailure", "lost by the test")

    def forward(self, environ, start_response):
        try:
            return self.application(environ, start_response)
        except InvalidRequest as error:
            return self.refuse(environ, start_response, "400 Bad Request", "ValidationException", str(error))

    @staticmethod
    def action(environ, body):
        if "HTTP_X_AMZ_TARGET" in environ:
            return environ["HTTP_X_AMZ_TARGET"].split(".")[-1]
        form = parse_qs(body.decode("utf-8", "replace")) if environ["REQUEST_METHOD"] == "POST" else {}
        return form.get("Action", [environ["REQUEST_METHOD"].capitalize()])[0]

    def refuse(self, environ, start_response, status, code, message):
        if "HTTP_X_AMZ_TARGET" in environ:
            text = json.dumps({"__type": code, "Message": message})
        else:
            text = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
        return self.answer(start_response, status, text)

    @staticmethod
    def answer(start_response, status, text):
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
        return [text.encode()]

    def control(self, command, environ):
        if command == "fresh":
            moto_api_backend.reset()
            loopback.update(on=False, last=0)
            self.at, self.changes = 0, []
            iam = backend("iam", "aws")
            iam.managed_policies[EMR_POLICY.arn] = EMR_POLICY
            backend("s3", "aws").create_bucket(BUCKET, REGION)
            subnets = [subnet for by_zone in backend("ec2").subnets.values() for subnet in by_zone.values()]
            return {"subnet": subnets[0].id, "vpc": subnets[0].vpc_id}
        if command == "fault":
            changes = self.changes
            (self.kind, at), = ((kind, values[0]) for kind, values in parse_qs(environ["QUERY_STRING"]).items())
            self.at, self.changes = int(at), []
            return {"changes": changes}
        if command == "loopback":
            loopback["on"] = True
            return {}
        return task_nodes() if command == "task-nodes" else listing()


def listing():
    iam = backend("iam", "aws")
    # The default ones, and those that EMR makes once for a network, are nobody's.
    groups = [group for by_id in backend("ec2").groups.values() for group in by_id.values()
              if group.name != "default" and not group.name.startswith("ElasticMapReduce-")]
    living = [cluster for cluster in backend("emr").clusters.values() if not cluster.state.startswith("TERMINAT")]
    s3 = backend("s3", "aws")
    return {
        "roles": sorted(role.name for role in iam.roles.values()),
        "profiles": sorted(profile.name for profile in iam.instance_profiles.values()),
        "security_groups": sorted(group.name for group in groups),
        "rules": sorted(f"{group.name}:{rule.from_port}-{rule.to_port}" for group in groups
                        for rule in group.ingress_rules),
        "security_configurations": sorted(backend("emr").security_configurations),
        "clusters": sorted(cluster.name for cluster in living),
        "objects": sorted(s3.buckets[BUCKET].keys) if BUCKET in s3.buckets else [],
    }


def main():
    server = make_server("127.0.0.1", 0, Front(DomainDispatcherApplication(create_backend_app)), threaded=False,
                         request_handler=QuietHandler)
    print(json.dumps({"endpoint": f"http://127.0.0.1:{server.server_port}"}), flush=True)
    server.serve_forever()


class QuietHandler(MotoRequestHandler):
    # One request a connection: one that is kept open would keep all others waiting.
    protocol_version = "HTTP/1.0"

    def log(self, *_):
        pass


if __name__ == "__main__":
    sys.exit(main())
