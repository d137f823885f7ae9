"""Makes an S3 server ready: a user with its key in /secrets/s3.env, the bucket, and the raw data of /project in it.

Usage: prepare.py ENDPOINT BUCKET
What is there already is left as it is.
"""
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import botocore.session
from botocore.exceptions import ClientError

USER = "lakewright"
KEY_FILE = Path("/secrets/s3.env")
RAW = Path("/project/data/raw")


def client(service, endpoint, key, secret):
    session = botocore.session.get_session()
    return session.create_client(service, endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=key,
                                 aws_secret_access_key=secret)


def policy(bucket):
    """What a lake and raw data in one bucket need, and no more."""
    arn = f"arn:aws:s3:::{bucket}"
    objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": arn},
        {"Effect": "Allow", "Action": objects, "Resource": f"{arn}/*"}]})


def make_key(iam, bucket):
    try:
        iam.create_user(UserName=USER)
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityAlreadyExists":
            raise
    iam.put_user_policy(UserName=USER, PolicyName="lake", PolicyDocument=policy(bucket))
    key = iam.create_access_key(UserName=USER)["AccessKey"]
    # Whoever runs as another user has no business with it.
    with open(os.open(KEY_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
        file.write(f"AWS_ACCESS_KEY_ID={key['AccessKeyId']}\nAWS_SECRET_ACCESS_KEY={key['SecretAccessKey']}\n")


def upload(s3, bucket):
    files = sorted(path for path in RAW.rglob("*") if path.is_file())
    present = set()
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="raw/"):
        present.update(entry["Key"] for entry in page.get("Contents", []))

    def put(path):
        key = f"raw/{path.relative_to(RAW).as_posix()}"
        if key not in present:
            s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, files))
    print(f"{len(files)} raw objects are in s3://{bucket}/raw")


def main(endpoint, bucket):
    # The server trusts its root's key without a signature; it is used here only.
    root = ("test", "test")
    if not KEY_FILE.exists():
        make_key(client("iam", endpoint, *root), bucket)
    s3 = client("s3", endpoint, *root)
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError:
        s3.create_bucket(Bucket=bucket)
    key = dict(line.split("=", 1) for line in KEY_FILE.read_text("ascii").splitlines())
    upload(client("s3", endpoint, key["AWS_ACCESS_KEY_ID"], key["AWS_SECRET_ACCESS_KEY"]), bucket)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
