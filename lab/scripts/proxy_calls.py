"""Makes the same S3 calls against an endpoint and writes what came back, without what differs from run to run.

usage: proxy_calls.py ENDPOINT CA_FILE SIGNED_REQUESTS OUTPUT
"""

import base64
import hashlib
import json
import os
import sys
import urllib.request
import ssl

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint, ca, count, output = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
client = boto3.client(
    "s3",
    endpoint_url=endpoint,
    aws_access_key_id=os.environ["MINIO_ROOT_USER"],
    aws_secret_access_key=os.environ["MINIO_ROOT_PASSWORD"],
    region_name="us-east-1",
    verify=ca,
    config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, max_pool_connections=32),
)
bucket = "proxy-lab"
# Whether MinIO keeps the connection after a PUT with Expect: 100-continue depends on when the body's last bytes arrive.
varying = {"connection", "date", "x-amz-request-id", "x-amz-id-2", "last-modified", "x-ratelimit-remaining", "etag", "x-ratelimit-limit"}
results = []


def call(name, function, **arguments):
    """One call; its status, headers and body go into the results."""
    try:
        answer = function(**arguments)
    except ClientError as error:
        answer = error.response
    metadata = answer["ResponseMetadata"]
    headers = {key: value for key, value in metadata["HTTPHeaders"].items() if key not in varying}
    body = answer["Body"].read() if "Body" in answer else b""
    results.append([name, metadata["HTTPStatusCode"], sorted(headers.items()), hashlib.sha256(body).hexdigest(), len(body)])
    return answer


text, large = b"hello" * 1000, bytes(range(256)) * 40960
customer = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": base64.b64encode(b"k" * 32).decode()}
call("create", client.create_bucket, Bucket=bucket)
call("put", client.put_object, Bucket=bucket, Key="a", Body=text)
call("put 10 MB", client.put_object, Bucket=bucket, Key="large", Body=large)
call("get", client.get_object, Bucket=bucket, Key="a")
call("head", client.head_object, Bucket=bucket, Key="a")
call("range", client.get_object, Bucket=bucket, Key="large", Range="bytes=1000-2000000")
call("copy", client.copy_object, Bucket=bucket, Key="b", CopySource=f"{bucket}/a")
call("missing", client.get_object, Bucket=bucket, Key="none")
call("not modified", client.get_object, Bucket=bucket, Key="a", IfNoneMatch=call("head", client.head_object, Bucket=bucket, Key="a")["ETag"])
upload = call("create multipart", client.create_multipart_upload, Bucket=bucket, Key="parts")["UploadId"]
parts = []
for number in (1, 2):
    part = call("part", client.upload_part, Bucket=bucket, Key="parts", UploadId=upload, PartNumber=number, Body=large[: 6 << 20])
    parts.append({"PartNumber": number, "ETag": part["ETag"]})
call("complete", client.complete_multipart_upload, Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
call("get parts", client.get_object, Bucket=bucket, Key="parts")
call("put SSE-C", client.put_object, Bucket=bucket, Key="c", Body=text, **customer)
call("get SSE-C", client.get_object, Bucket=bucket, Key="c", **customer)
call("get SSE-C without key", client.get_object, Bucket=bucket, Key="c")
call("put SSE-KMS", client.put_object, Bucket=bucket, Key="k", Body=text, ServerSideEncryption="aws:kms", SSEKMSKeyId="lab-key")
call("get SSE-KMS", client.get_object, Bucket=bucket, Key="k")
call("list", client.list_objects_v2, Bucket=bucket)
url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a"}, ExpiresIn=600)
with urllib.request.urlopen(url, context=ssl.create_default_context(cafile=ca)) as answer:
    results.append(["presigned", answer.status, hashlib.sha256(answer.read()).hexdigest()])

failed = 0
for number in range(count):
    try:
        if number % 4 == 0:
            client.put_object(Bucket=bucket, Key=f"n/{number % 100}", Body=text[: number % 5000])
        elif number % 4 == 1:
            client.head_object(Bucket=bucket, Key="a")
        elif number % 4 == 2:
            client.get_object(Bucket=bucket, Key="a")["Body"].read()
        else:
            client.list_objects_v2(Bucket=bucket, MaxKeys=10)
    except ClientError as error:
        failed += 1
        print(error, file=sys.stderr)
results.append(["signed requests that failed", failed])
for item in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
    for key in item.get("Contents", []):
        client.delete_object(Bucket=bucket, Key=key["Key"])
call("delete bucket", client.delete_bucket, Bucket=bucket)
with open(output, "w", encoding="utf-8") as file:
    for result in results:
        file.write(json.dumps(result) + "\n")
print(f"  {len(results)} kinds of calls, {count} further signed requests, {failed} failed")
