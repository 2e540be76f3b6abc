#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets, from nothing but this file. Inputs that once failed stand beside them, with a name that
begins with `once-`, and sessions that hopwire wrote of these captures with `written-`; this script leaves those alone."""

import gzip
import pathlib
import random
import struct

SEEDS = pathlib.Path(__file__).parent / "seeds"


def seed(target, name, data):
    path = SEEDS / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


# Packets.

def ipv4(payload, protocol=6, flags=0x4000, identification=1):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), identification, flags, 64, protocol, 0,
                       bytes([10, 0, 0, 2]), bytes([10, 0, 0, 9]))
    return head + payload


def ipv6(payload, following=6):
    return struct.pack("!IHBB", 6 << 28, len(payload), following, 64) + bytes(15) + b"\1" + bytes(15) + b"\2" + payload


def tcp(payload, seq=1, ack=1, flags=0x10, ports=(40000, 9000)):
    return struct.pack("!HHIIBBHHH", *ports, seq, ack, 0x50, flags, 0xffff, 0, 0) + payload


def udp(payload, port):
    return struct.pack("!HHHH", 40000, port, 8 + len(payload), 0) + payload


def ethernet(payload, kind=0x0800):
    return b"\2\0\0\0\0\1\2\0\0\0\0\2" + struct.pack("!H", kind) + payload


REQUEST = b"GET /b/k HTTP/1.1\r\nHost: s\r\nx-amz-date: 20261123T000000Z\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"e\"\r\n\r\nhello"


def conversation(request=REQUEST, answer=ANSWER):
    """The packets of one connection, as Ethernet frames."""
    def frame(client, payload, seq, ack, flags):
        ports = (40000, 9000) if client else (9000, 40000)
        packet = bytearray(ipv4(tcp(payload, seq, ack, flags, ports)))
        if not client:
            packet[12:16], packet[16:20] = packet[16:20], packet[12:16]
        return ethernet(bytes(packet))
    asked, told = 101 + len(request), 501 + len(answer)
    return [
        frame(True, b"", 100, 0, 0x02), frame(False, b"", 500, 101, 0x12), frame(True, b"", 101, 501, 0x10),
        frame(True, request, 101, 501, 0x18), frame(False, answer, 501, asked, 0x18), frame(True, b"", asked, told, 0x11),
        frame(False, b"", told, asked + 1, 0x11), frame(True, b"", asked + 1, told + 1, 0x10),
    ]


def pcap(packets, order="<", magic=0xa1b2c3d4, link=1, version=(2, 4)):
    out = struct.pack(order + "IHHiIII", magic, *version, 0, 0, 65535, link)
    for number, packet in enumerate(packets):
        out += struct.pack(order + "IIII", 1_795_440_000 + number, 1000 * number, len(packet), len(packet)) + packet
    return out


def block(order, kind, content):
    content += bytes(-len(content) % 4)
    length = 12 + len(content)
    return struct.pack(order + "II", kind, length) + content + struct.pack(order + "I", length)


def option(order, code, value):
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def pcapng(packets, order="<", secrets=b"", resolution=None, simple=False, old=False):
    end = option(order, 0, b"")
    out = block(order, 0x0a0d0d0a, struct.pack(order + "IHHq", 0x1a2b3c4d, 1, 0, -1) + option(order, 4, b"seed") + end)
    options = option(order, 2, b"eth0") + option(order, 3, b"a bridge")
    if resolution is not None:
        options += option(order, 9, bytes([resolution]))
    out += block(order, 1, struct.pack(order + "HHI", 1, 0, 0) + options + end)
    if secrets:
        out += block(order, 10, struct.pack(order + "II", 0x544c534b, len(secrets)) + secrets)
    for number, packet in enumerate(packets):
        padded = packet + bytes(-len(packet) % 4)
        if simple:
            out += block(order, 3, struct.pack(order + "I", len(packet)) + padded)
        elif old:
            out += block(order, 2, struct.pack(order + "HHIIII", 0, 0, 0, number, len(packet), len(packet)) + padded)
        else:
            head = struct.pack(order + "IIIII", 0, 417_000, number, len(packet), len(packet))
            out += block(order, 6, head + padded + option(order, 1, b"a comment") + end)
    out += block(order, 4, struct.pack(order + "HH", 1, 8) + bytes([10, 0, 0, 9]) + b"s3\0\0" + struct.pack(order + "HH", 0, 0))
    out += block(order, 5, struct.pack(order + "III", 0, 0, 9) + option(order, 4, struct.pack(order + "Q", 8))
                 + option(order, 5, struct.pack(order + "Q", 1)) + end)
    return out + block(order, 0x0bad, b"unknown")


def captures():
    packets = conversation()
    seed("pcap", "little", pcap(packets))
    seed("pcap", "big-nanoseconds", pcap(packets, ">", 0xa1b23c4d))
    seed("pcap", "old-version", pcap(packets[:4], version=(2, 2)))
    seed("pcap", "cut", pcap(packets)[:-20])
    damaged = bytearray(pcap(packets))
    damaged[24 + 16 + 54 + 8:24 + 16 + 54 + 12] = b"\xff\xff\xff\xee"
    seed("pcap", "damaged-length", bytes(damaged))
    modified = struct.pack("<IHHiIII", 0xa1b2cd34, 2, 4, 0, 0, 65535, 1)
    for number, packet in enumerate(packets[:5]):
        modified += struct.pack("<IIIIIHBB", number, 0, len(packet), len(packet), 1, 0x0800, 0, 0) + packet
    seed("pcap", "modified", modified)
    snoop = b"snoop\0\0\0" + struct.pack("!II", 2, 4)
    for number, packet in enumerate(packets[:5]):
        padded = packet + bytes(-len(packet) % 4)
        snoop += struct.pack("!IIIIII", len(packet), len(packet), 24 + len(padded), 0, number, 7) + padded
    seed("pcap", "snoop", snoop)
    seed("pcap", "gzip", gzip.compress(pcap(packets), mtime=0))
    for name, order in [("little", "<"), ("big", ">")]:
        seed("pcapng", name, pcapng(packets, order))
    seed("pcapng", "nanoseconds", pcapng(packets[:4], resolution=9))
    seed("pcapng", "binary-resolution", pcapng(packets[:3], resolution=0x94))
    seed("pcapng", "simple-blocks", pcapng(packets[:4], simple=True))
    seed("pcapng", "old-blocks", pcapng(packets[:4], old=True))
    seed("pcapng", "secrets", pcapng(packets[:4], secrets=b"CLIENT_RANDOM " + b"ab" * 32 + b" " + b"cd" * 48 + b"\n"))
    seed("pcapng", "two-sections", pcapng(packets[:3]) + pcapng(packets[3:], ">"))
    seed("pcapng", "cut", pcapng(packets)[:-41])
    seed("whole", "exchange", pcap(packets))
    seed("whole", "exchange-pcapng", pcapng(packets))
    put = (b"PUT /b/k HTTP/1.1\r\nHost: s\r\nUser-Agent: aws-sdk-java/1.12.262\r\nx-amz-copy-source: /b/o\r\n"
           b"x-amz-server-side-encryption-customer-algorithm: AES256\r\n"
           b"x-amz-server-side-encryption-customer-key: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\r\n"
           b"x-amz-server-side-encryption-customer-key-MD5: abc=\r\nContent-Length: 0\r\n\r\n")
    refused = (b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/xml\r\nContent-Length: 62\r\n\r\n"
               b"<Error><Code>InvalidRequest</Code><Message>no</Message></Error>")
    seed("whole", "copy-refused", pcap(conversation(put, refused)))
    signed = (b"GET /b/?list-type=2&X-Amz-Signature=ff&X-Amz-Credential=A%2F20261123%2Fr%2Fs3%2Faws4_request HTTP/1.1\r\n"
              b"Host: b.s3.amazonaws.com\r\nAuthorization: AWS4-HMAC-SHA256 Credential=A/20261123/r/s3/aws4_request, "
              b"SignedHeaders=host, Signature=00\r\nx-amz-security-token: tokentoken\r\n\r\n")
    seed("whole", "signed", pcap(conversation(signed, ANSWER.replace(b"200 OK", b"503 Slow Down"))))
    seed("whole", "fragments", pcap([ethernet(part) for part in fragments()]))


def fragments():
    whole = tcp(REQUEST)
    return [ipv4(whole[:40], flags=0x2000, identification=7), ipv4(whole[40:], flags=5, identification=7)]


# One packet for each link type and tunnel; the first octet is an index into the list of the check.

def links():
    segment = tcp(b"hello")
    packet = ipv4(segment)
    six = ipv6(segment)
    frame = ethernet(packet)
    cases = {
        "ethernet": (0, frame), "ethernet-ipv6": (0, ethernet(six, 0x86dd)),
        "vlan": (0, ethernet(b"\0\5\x88\xa8\0\6\x08\0" + packet, 0x8100)),
        "pppoe": (0, ethernet(b"\x11\0\0\1\0\x40\0\x21" + packet, 0x8864)),
        "mpls": (0, ethernet(b"\0\1\0\x40\0\2\1\x40" + packet, 0x8847)),
        "snap": (0, frame[:12] + b"\0\x40\xaa\xaa\3\0\0\0\x08\0" + packet),
        "loopback": (1, b"\2\0\0\0" + packet), "loopback-big": (2, b"\0\0\0\x1e" + six),
        "slip": (3, bytes(16) + packet), "ppp": (4, b"\xff\3\0\x21" + packet), "pppoe-link": (6, b"\x11\0\0\1\0\x40\0\x21" + packet),
        "raw": (9, packet), "c-hdlc": (12, b"\x0f\0\x08\0" + packet), "frame-relay": (13, b"\x18\x41\3\xcc" + packet),
        "atm": (14, b"\xaa\xaa\3\0\0\0\x08\0" + packet), "cooked": (17, bytes(14) + b"\x08\0" + packet),
        "cooked-2": (18, b"\x08\0" + bytes(18) + packet), "nflog": (19, bytes(4) + struct.pack("<HH", 4 + len(packet), 9) + packet),
        "gre": (0, ethernet(ipv4(b"\0\0\x08\0" + packet, 47))), "erspan": (0, ethernet(ipv4(b"\x10\0\x88\xbe" + bytes(12) + frame, 47))),
        "pptp": (0, ethernet(ipv4(b"\x30\x81\x88\x0b" + bytes(12) + b"\xff\3\0\x21" + packet, 47))),
        "ip-in-ip": (0, ethernet(ipv4(packet, 4))), "six-in-four": (0, ethernet(ipv4(six, 41))),
        "vxlan": (0, ethernet(ipv4(udp(b"\x08" + bytes(7) + frame, 4789), 17))),
        "geneve": (0, ethernet(ipv4(udp(b"\1\0\x65\x58" + bytes(8) + frame, 6081), 17))),
        "gtp": (0, ethernet(ipv4(udp(b"\x34\xff" + bytes(9) + b"\x85\1\0\0\0" + packet, 2152), 17))),
        "teredo": (0, ethernet(ipv4(udp(six, 3544), 17))),
        "extensions": (0, ethernet(ipv6(b"\x3c\0" + bytes(6) + b"\6\0" + bytes(6) + segment, 0), 0x86dd)),
        "ipv6-fragment": (0, ethernet(ipv6(b"\6\0\0\1\0\0\0\x09" + segment[:24], 44), 0x86dd)),
        "authentication": (0, ethernet(ipv4(b"\6\4" + bytes(22) + segment, 51))),
    }
    for name, (link, data) in cases.items():
        seed("link_ip", name, struct.pack("!BBH", link, 0, len(data)) + data)
    parts = [ethernet(part) for part in fragments()]
    seed("link_ip", "fragments", b"".join(struct.pack("!BBH", 0, 0, len(part)) + part for part in parts[::-1]))


def reassembly():
    chance = random.Random(7)
    for number in range(12):
        head = bytes([number % 2]) + struct.pack("!II", [0, 0xffff_ff00, 0x7fff_fff0][number % 3], chance.getrandbits(32))
        seed("reassembly", f"talk-{number}", head + chance.randbytes(20 + 12 * number))
    seed("reassembly", "in-order", bytes(9) + b"\2" + struct.pack("!HHHHHH", 0, 600, 900, 0, 30, 1100) + b"\3\x20")


# HTTP.

TALKS = {
    "get": ">>>\nGET /a HTTP/1.1\r\nHost: s3\r\n\r\n\n<<<\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "head": ">>>\nHEAD /a HTTP/1.1\r\nHost: s3\r\n\r\n\n<<<\nHTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
    "chunked": ">>>\nPOST /c HTTP/1.1\r\nContent-Type: application/xml\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\n<a/>!\r\n0\r\nt: u\r\n\r\n"
               "\n<<<\nHTTP/1.1 403 Forbidden\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n",
    "continue": ">>>\nPUT /e HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n\n<<<\nHTTP/1.1 100 Continue\r\n\r\n\n>>>\nhi"
                "\n<<<\nHTTP/1.1 204 No Content\r\n\r\n",
    "pipelined": ">>>\nGET /1 HTTP/1.1\r\nHost: s\r\n\r\nGET /2 HTTP/1.1\r\nHost: s\r\n\r\n\n<<<\nHTTP/1.1 304 Not Modified\r\n\r\n"
                 "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    "until-close": ">>>\nGET /t HTTP/1.0\r\n\r\n\n<<<\nHTTP/1.0 200 OK\r\n\r\nall of it\n<.\n>.\n",
    "reset": ">>>\nGET /t HTTP/1.1\r\nHost: s\r\n\r\n\n<x\n",
    "lengths-differ": ">>>\nPUT /cl HTTP/1.1\r\nContent-Length: 6\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                      "\n<<<\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: +2\r\n\r\nok",
    "lenient": ">>>\nGET  /odd HTTP/1.1\nHost : s3\r\nX: y\r\n folded\r\nnothing\r\n\r\n\n<<<\nhttp/1.1  200 OK\nContent-Length:2\n\nab",
    "connect": ">>>\nCONNECT h:443 HTTP/1.1\r\n\r\n\n<<<\nHTTP/1.1 200 OK\r\n\r\n\n>>>\n\x16\x03\x01 octets\n<<<\nmore",
    "upgrade": ">>>\nGET /u HTTP/1.1\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\n<<<\nHTTP/1.1 101 Switching Protocols\r\n\r\nabc",
    "gap-in-body": ">>>\nGET /1 HTTP/1.1\r\n\r\n\n<<<\nHTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n0123456789\n<!10\n<<<\nabcdefghij"
                   "\n>>>\nGET /2 HTTP/1.1\r\n\r\n\n<<<\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "gap-in-head": ">>>\nGET /1 HTTP/1.1\r\nHost: \n>!30\n>>>\nxyz\r\n\r\nGET /2 HTTP/1.1\r\n\r\n\n<!200\n<<<\nHTTP/1.1 200 OK\r\n\r\n",
    "http09": ">>>\nGET /old\r\n\n<<<\nplain words\n<.\n",
    "early-answer": ">>>\nPUT /big HTTP/1.1\r\nContent-Length: 1000\r\n\r\nabc\n<<<\nHTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
                    "\n>>>\nGET /next HTTP/1.1\r\n\r\n\n<<<\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "narrow": "#\n>>>\nGET /1 HTTP/1.1\r\na: b\r\nc: d\r\ne: f\r\ng: h\r\ni: j\r\n\r\n\n<<<\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 102 P\r\n\r\n"
              "HTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n01234567890123456789",
    "middle": ">>>\nrest of a body\r\nGET /m HTTP/1.1\r\nHost: s\r\n\r\n\n<<<\nnoise\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
}


def http():
    for name, text in TALKS.items():
        seed("http1", name, text)
    signature = "ad" * 32
    for mode, tail in enumerate(["", f"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:{signature}\r\n", "x-amz-checksum-crc64nvme:9z1=\r\n"]):
        sign = "" if mode == 2 else f";chunk-signature={signature}"
        seed("aws_chunked", f"framed-{mode}", bytes([mode]) + f"5{sign}\r\nhello\r\n1{sign}\r\n!\r\n0{sign}\r\n{tail}\r\n".encode())
        seed("aws_chunked", f"object-{mode}", bytes([0x80 + mode + (3 - 0x80 % 3) % 3, 3, 1, 200, 0]) + b"an object of some length" * 4)
    seed("aws_chunked", "empty-lines", b"\2" + b"0\r\nx-amz-checksum-crc32c:a\n\r\n\r\n")


# S3.

CALLS = {
    "get": "GET /bucket/a%20key?versionId=1&partNumber=2 HTTP/1.1\nHost: s3.amazonaws.com\nRange: bytes=0-4\n\n\n---\n206\n"
           "Content-Length: 5\nETag: \"e\"\nx-amz-request-id: 1\n\nhello",
    "copy": "PUT /bucket/new HTTP/1.1\nHost: bucket.s3.example.org\nx-amz-copy-source: /bucket/old%2Fkey?versionId=3\n"
            "x-amz-server-side-encryption: aws:kms\nx-amz-server-side-encryption-aws-kms-key-id: arn:aws:kms:r:1:key/2\n"
            "x-amz-copy-source-server-side-encryption-customer-algorithm: AES256\n\n\n---\n400\nContent-Type: application/xml\n\n"
            "<?xml version=\"1.0\"?><Error><Code>InvalidRequest</Code><Message>&lt;no&gt;</Message><RequestId>9</RequestId></Error>",
    "list": "GET /?list-type=2&prefix=a%2F&delimiter=%2F&continuation-token=x HTTP/1.1\nHost: b.s3.eu-west-1.amazonaws.com\n"
            "Authorization: AWS4-HMAC-SHA256 Credential=AK/20261123/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00\n\n",
    "post-policy": "POST /bucket HTTP/1.1\nHost: s\nContent-Type: multipart/form-data; boundary=xx\n\n--xx\r\nContent-Disposition: "
                   "form-data; name=\"key\"\r\n\r\na\r\n--xx\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nz\r\n--xx--\r\n",
    "presigned": "GET /b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A%2F20261123%2Fr%2Fs3%2Faws4_request&X-Amz-Date=20261123T"
                 "000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=ff HTTP/1.1\nHost: s\n\n",
    "v2": "DELETE /b/k?uploadId=u HTTP/1.1\nHost: s\nAuthorization: AWS AK:c2ln\nDate: Mon, 23 Nov 2026 10:00:00 GMT\n\n",
    "streaming": "PUT /b/k HTTP/1.1\nHost: s\nx-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\nx-amz-decoded-content-length: 5\n"
                 "Content-Encoding: aws-chunked\nUser-Agent: aws-sdk-java/2.29.1 md/io#sync ua/2.1\namz-sdk-invocation-id: i\n"
                 "amz-sdk-request: attempt=2; max=4\n\n5\r\nhello\r\n0\r\n\r\n",
    "audit": "GET /b/k HTTP/1.1\nHost: s\nReferer: https://audit.example.org/hadoop/1/op_open/1-2/?op=op_open&p1=s3a://b/k&id=3&t0=4&ts=5\n\n",
    "health": "GET /minio/health/live HTTP/1.1\nHost: s\n\n\n---\n200\n\n",
}


def s3():
    for name, text in CALLS.items():
        seed("call", name, text)
    for number, text in enumerate(CALLS.values()):
        seed("redact", f"call-{number}", bytes([number]) + b"+/=tail\n" + text.encode())
    repeated = ("PUT /b/{1}?x={2}&X-Amz-Security-Token={1} HTTP/1.1\nHost: s\nx-amz-meta-a: a{0}b\nx-amz-meta-b: {3} {4}\n"
                "x-amz-meta-c: {5}{6}{7}{8}{9}\nReferer: http://s/?token={0}\nUser-Agent: {0}\n\n{0}\n---\n403\n{0}: x\n"
                "Content-Type: application/xml\n\n<Error><Code>{0}</Code><CanonicalRequest>PUT {0}</CanonicalRequest></Error>")
    for place in range(8):
        seed("redact", f"repeated-{place}", bytes([place]) + b"a%b&c\n" + repeated.encode())
    seed("client_log", "refused", "\n".join([
        "26/11/23 10:00:00 INFO SparkContext: Running Spark version 3.3.4",
        "26/11/23 10:00:01 WARN NativeCodeLoader: Unable to load native-hadoop library",
        "java.lang.IllegalArgumentException: HTTPS must be used when sending customer encryption keys (SSE-C) to S3, in order to "
        "protect your encryption keys.",
        "\tat com.amazonaws.services.s3.AmazonS3Client.assertHttps(AmazonS3Client.java:5301)",
        "\tat com.amazonaws.services.s3.AmazonS3Client.checkHttps(AmazonS3Client.java:5293)",
        "\tat com.amazonaws.services.s3.AmazonS3Client.copyObject(AmazonS3Client.java:2100)",
        "\tat org.apache.hadoop.fs.s3a.S3AFileSystem.copyFile(S3AFileSystem.java:4090)", ""]))
    seed("client_log", "times", "2026-11-23T10:00:00.123Z x\n2026-11-23 10:00:00,123 DEBUG [main] y\r\n\x00\xff\n23/Nov/2026 z")
    random64, secret48 = "ab" * 32, "cd" * 48
    seed("keylog", "lines", "\n".join([
        "# comment", f"CLIENT_RANDOM {random64} {secret48}", f"CLIENT_HANDSHAKE_TRAFFIC_SECRET {random64} {'ef' * 32}",
        f"SERVER_TRAFFIC_SECRET_0 {random64} {'01' * 48}\r", f"CLIENT_EARLY_TRAFFIC_SECRET {random64} {'02' * 32}",
        f"RSA {'11' * 8} {'22' * 48}", "RSA Session-ID:" + "33" * 32 + " Master-Key:" + secret48, "EXPORTER_SECRET 00 11", "nonsense", ""]))
    seed("keylog", "no-end", f"CLIENT_RANDOM {random64} {secret48}")


def sessions():
    seed("jsonl", "loss", '{"type":"loss","reason":"after-gap","flow":3,"bytes":17,"time":"2026-11-23T10:00:00.000000005Z","file":0,"frame":9}\n')
    seed("jsonl", "source", '{"type":"source","file":"a","format":"pcap","packets":4,"bytes":9,"first":null,"last":null,"link_types":[],'
                            '"interfaces":["eth0"]}\n{"type":"summary","completeness":{"packets":4}}\n{"type":"finding"}\n')
    seed("jsonl", "torn", '{"type":"loss","reason":"after-g')


def tls():
    seed("tls_records", "raw-hello", b"\xff\0\0\x0c\x16\x03\x01\0\x07\1\0\0\3\3\3\0\0\x07\x16\x03\x03\0\2\2\0")
    for choice in range(0, 60, 3):
        seed("tls_records", f"flow-{choice}", bytes([choice, 0]))
    chance = random.Random(5)
    for number in range(24):
        seed("tls_records", f"disturbed-{number}", bytes([chance.randrange(60), number % 4]) + b"".join(
            bytes([chance.randrange(8), chance.randrange(14)]) + struct.pack("!HH", chance.randrange(2000), chance.randrange(60))
            for _ in range(number % 3 + 1)))


for make in [captures, links, reassembly, http, s3, sessions, tls]:
    make()
print(sum(path.stat().st_size for path in SEEDS.rglob("*") if path.is_file()), "octets")

# Executables of Go: an ELF file whose one segment holds everything, with the function table and the build information.

def go_executable(magic):
    base, table, info = 0x400000, 0x400, 0x900
    file = bytearray(0xC00)

    def put(at, data):
        file[at:at + len(data)] = data

    put(0, b"\x7fELF\2\1\1")
    put(18, struct.pack("<H", 62))
    put(32, struct.pack("<Q", 64))
    put(54, struct.pack("<HH", 56, 1))
    put(64, struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, 0xC00, 0xC00, 16))
    put(table, struct.pack("<BBBBBBBB", magic, 255, 255, 255, 0, 0, 1, 8))
    names = b"\0runtime.text\0crypto/tls.(*Config).writeKeyLog\0"
    put(table + 0x80, names)
    wide = magic == 0xFA
    words = [2, 0] + ([] if wide else [base + 0xA00]) + [0x80, 0x180, 0x190, 0x1A0, 0x200]
    put(table + 8, struct.pack(f"<{len(words)}Q", *words))
    pair, kind = (16, "<QQ") if wide else (8, "<II")
    for index, (start, name) in enumerate([(0, 1), (0x20, 14)]):
        function = 3 * pair + 16 * index
        put(table + 0x200 + index * pair, struct.pack(kind, start + (base + 0xA00 if wide else 0), function))
        put(table + 0x200 + function + (8 if wide else 4), struct.pack("<I", name))
    put(info, b"\xff Go buildinf:\x08\x02")
    put(info + 32, bytes([8]) + b"go1.17.1" + bytes([0]))
    return bytes(file)


for number in (0xFA, 0xF0, 0xF1):
    seed("executable", f"go-{number:x}", go_executable(number))
seed("executable", "trace-line",
     "  minio-1 [000] ..... 1.0: k0: (0x1) llen=13 l0=0x525f544e45494c43 l1=0x4d4f444e41 l2=0x0 l3=0x0 rlen=2 rnd={0x1,0x2} "
     "slen=2 s0={0x3,0x4} s1=(fault)\nCPU:0 [LOST 3 EVENTS]\n")
