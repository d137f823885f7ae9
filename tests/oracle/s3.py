"""An S3 server for the whole-system tests, and what they do there beside the program under test.

Usage: s3.py serve                            prints {"endpoint": ...}, then is the server until it is ended
       s3.py account ENDPOINT [POLICY]        waits for the server, and prints the key of a new user of that policy
       s3.py bucket ENDPOINT BUCKET           makes a bucket
       s3.py upload ENDPOINT BUCKET FOLDER PREFIX
       s3.py download ENDPOINT BUCKET PREFIX FOLDER
       s3.py unfinished ENDPOINT BUCKET       prints how many uploads in parts are unfinished
       s3.py attempt ENDPOINT CALLS           tries each of a JSON list of calls [METHOD, BUCKET, KEY], and prints its status
The key is taken from AWS's own variables. The server checks signatures if AUTH is true, but not those of its root.
"""
import json
import os
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import botocore.session
from botocore.exceptions import ClientError

START_SECONDS_MAX = 60
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


def serve():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ.update(GATEWAY_PORT=str(port), BIND_HOST="127.0.0.1", LOG_LEVEL="ERROR")
    print(json.dumps({"endpoint": f"http://127.0.0.1:{port}"}), flush=True)
    # The same process, so that whoever started it can end it.
    os.execv(sys.executable, [sys.executable, "-m", "ministack"])


def client(service, endpoint, **key):
    return botocore.session.get_session().create_client(
        service, endpoint_url=endpoint, region_name="us-east-1", **key)


def account(endpoint, policy=None):
    host, port = endpoint.removeprefix("http://").split(":")
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    iam = client("iam", endpoint, aws_access_key_id="test", aws_secret_access_key="test")
    iam.create_user(UserName="engineer")
    iam.put_user_policy(UserName="engineer", PolicyName="lake", PolicyDocument=policy or json.dumps(POLICY))
    key = iam.create_access_key(UserName="engineer")["AccessKey"]
    return {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}


def upload(endpoint, bucket, folder, prefix):
    s3 = client("s3", endpoint)
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())

    def put(path):
        key = f"{prefix}/{path.relative_to(folder).as_posix()}"
        s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, files))
    return {"objects": len(files)}


def download(endpoint, bucket, prefix, folder):
    s3 = client("s3", endpoint)
    objects = 0
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
        for entry in page.get("Contents", []):
            path = Path(folder, entry["Key"].removeprefix(f"{prefix}/"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read())
            objects += 1
    return {"objects": objects}


def attempt(endpoint, calls):
    s3 = client("s3", endpoint)
    methods = {
        "get": lambda bucket, key: s3.get_object(Bucket=bucket, Key=key),
        "put": lambda bucket, key: s3.put_object(Bucket=bucket, Key=key, Body=b"x"),
        "delete": lambda bucket, key: s3.delete_object(Bucket=bucket, Key=key),
        "list": lambda bucket, key: s3.list_objects_v2(Bucket=bucket, Prefix=key),
    }

    def status(method, bucket, key):
        try:
            return methods[method](bucket, key)["ResponseMetadata"]["HTTPStatusCode"]
        except ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"]

    return {"statuses": [status(*call) for call in json.loads(calls)]}


def main(command, *arguments):
    if command == "serve":
        serve()
    elif command == "account":
        answer = account(*arguments)
    elif command == "bucket":
        answer = {"made": bool(client("s3", arguments[0]).create_bucket(Bucket=arguments[1]))}
    elif command == "upload":
        answer = upload(*arguments)
    elif command == "download":
        answer = download(*arguments)
    elif command == "unfinished":
        uploads = client("s3", arguments[0]).list_multipart_uploads(Bucket=arguments[1])
        answer = {"uploads": len(uploads.get("Uploads", []))}
    elif command == "attempt":
        answer = attempt(*arguments)
    else:
        sys.exit(f"unknown command {command}")
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
