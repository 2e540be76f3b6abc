"""Requests like those of boto3: plain ones, and some whose encryption key crosses the wire in clear. Arguments: host, port, rounds, and `tls` for
a connection whose certificate nobody checks (SSLKEYLOGFILE is honoured)."""
import base64
import hashlib
import http.client
import os
import ssl
import sys
import time

KEY = hashlib.sha256(b"a key of the lab, known to everybody").digest()
SIGNED = "host;x-amz-content-sha256;x-amz-date"


def headers(host, body, customer_key):
    now = time.gmtime()
    fields = {
        "Host": host,
        "User-Agent": "Boto3/1.43.0 md/Botocore#1.43.0 ua/2.1 os/linux lang/python#3.11",
        "x-amz-date": time.strftime("%Y%m%dT%H%M%SZ", now),
        "x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
        "Authorization": "AWS4-HMAC-SHA256 Credential=labuser/%s/us-east-1/s3/aws4_request, SignedHeaders=%s, Signature=%s"
        % (time.strftime("%Y%m%d", now), SIGNED, hashlib.sha256(repr((now, time.monotonic_ns())).encode()).hexdigest()),
        "Content-Length": str(len(body)),
    }
    if customer_key:
        name = "x-amz-server-side-encryption-customer-"
        fields[name + "algorithm"] = "AES256"
        fields[name + "key"] = base64.b64encode(KEY).decode()
        fields[name + "key-MD5"] = base64.b64encode(hashlib.md5(KEY).digest()).decode()
    return fields


def ask(connection, host, method, path, body=b"", customer_key=False):
    connection.request(method, path, body, headers(host, body, customer_key))
    answer = connection.getresponse()
    answer.read()
    return answer.status


def connect(host, port):
    if "tls" not in sys.argv[4:]:
        return http.client.HTTPConnection(host, port, timeout=10)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if "SSLKEYLOGFILE" in os.environ:
        context.keylog_filename = os.environ["SSLKEYLOGFILE"]
    return http.client.HTTPSConnection(host, port, timeout=10, context=context)


def main():
    host, port, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    for attempt in range(50):
        try:
            connection = connect(host, port)
            connection.connect()
            break
        except OSError:
            time.sleep(0.1)
    where = f"{host}:{port}"
    done = 0
    for number in range(rounds):
        body = (f"row {number}\n" * 2000).encode()
        secret = number % 5 == 4
        path = f"/lab/warehouse/part-{number:05}.parquet"
        statuses = [
            ask(connection, where, "PUT", path, body, secret),
            ask(connection, where, "HEAD", path, customer_key=secret),
            ask(connection, where, "GET", path, customer_key=secret),
            ask(connection, where, "GET", path + ".missing"),
        ]
        assert statuses == [200, 200, 200, 404], statuses
        done += len(statuses)
    print(f"{done} requests answered")


main()
