"""A store that answers S3 requests as far as the capture lab needs it: PUT, GET, HEAD, objects in memory.

Arguments: port, and for TLS a file with key and certificate."""
import hashlib
import http.server
import ssl
import sys
import threading

OBJECTS = {}
LOCK = threading.Lock()


class Store(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "MinIO"
    sys_version = ""
    number = 0

    def answer(self, status, body=b"", headers=()):
        with LOCK:
            Store.number += 1
            request_id = f"{Store.number:016X}"
        self.send_response(status)
        self.send_header("x-amz-request-id", request_id)
        self.send_header("x-amz-id-2", "lab")
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def encryption(self):
        name = "x-amz-server-side-encryption-customer-algorithm"
        if name in self.headers:
            md5 = "x-amz-server-side-encryption-customer-key-MD5"
            return [(name, self.headers[name]), (md5, self.headers[md5])]
        return []

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        OBJECTS[self.path] = body
        etag = ("ETag", f'"{hashlib.md5(body).hexdigest()}"')
        self.answer(200, headers=[etag, *self.encryption()])

    def do_GET(self):
        if self.path in OBJECTS:
            self.answer(200, OBJECTS[self.path], [("Content-Type", "binary/octet-stream"), *self.encryption()])
        else:
            key = self.path.strip("/").split("/", 1)[-1]
            xml = f"<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message><Key>{key}</Key></Error>"
            self.answer(404, xml.encode(), [("Content-Type", "application/xml")])

    do_HEAD = do_GET

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Store)
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
