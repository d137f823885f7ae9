"""A stand-in for EC2's metadata service, IMDSv2 only: what nodes ask of it, from files that ../simulate.py writes.

/opt/metadata/values.json has values by path, such as "local-ipv4"; a path that it does not have is not found.
"""
import http.server
import json
from pathlib import Path

VALUES = Path("/opt/metadata/values.json")
TOKEN = "a-token-of-this-node"
TTL = "X-aws-ec2-metadata-token-ttl-seconds"


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, code, text="", **headers):
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def do_PUT(self):
        if self.path == "/latest/api/token" and TTL in self.headers:
            self.answer(200, TOKEN, **{TTL: self.headers[TTL]})
        else:
            self.answer(400)

    def do_GET(self):
        if self.headers.get("X-aws-ec2-metadata-token") != TOKEN:
            return self.answer(401)
        values = json.loads(VALUES.read_text("utf-8")) if VALUES.exists() else {}
        value = values.get(self.path.removeprefix("/latest/meta-data/").rstrip("/"))
        self.answer(404 if value is None else 200, value or "")

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("169.254.169.254", 80), Handler).serve_forever()
