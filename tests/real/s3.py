"""The bucket as another client reads it: `s3.py ENDPOINT make | read PREFIX`.

read: for each object its key, its metadata `spangate` and the span ids in it, a line of JSON each.
"""

import gzip
import json
import sys

import boto3

client = boto3.client(
    "s3", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="secret"
)

if sys.argv[2] == "make":
    client.create_bucket(Bucket="spans")
else:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="spans", Prefix=sys.argv[3])
    for found in (found for page in pages for found in page.get("Contents", [])):
        got = client.get_object(Bucket="spans", Key=found["Key"])
        lines = gzip.decompress(got["Body"].read()).splitlines()
        ids = [json.loads(line)["id"] for line in lines]
        print(json.dumps({"key": found["Key"], "facts": got["Metadata"].get("spangate"), "ids": ids}))
    left = client.list_multipart_uploads(Bucket="spans").get("Uploads", [])
    print(json.dumps({"uploads": [upload["Key"] for upload in left]}))
