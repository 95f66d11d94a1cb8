"""A real HTTP server on loopback that answers as told, and remembers what it was asked."""

import json
import math
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def completion(text="Verdict: yes", model="judge-2026-01-01", tokens=100, words=None):
    choice = {"message": {"role": "assistant", "content": text}}
    if words is not None:
        top = [{"token": w, "logprob": math.log(p)} for w, p in words.items()]
        choice["logprobs"] = {"content": [{"token": "x", "logprob": 0.0, "top_logprobs": top}]}
    content = {"model": model, "choices": [choice], "usage": {"total_tokens": tokens}}
    return 200, {}, json.dumps(content).encode()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        script = self.server.script
        with script.lock:
            script.asked.append((self.path, dict(self.headers), json.loads(content)))
            behave = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
        if callable(behave):
            behave(self)
            return
        status, headers, body = behave
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Script:
    """What the server is to do with each request; the last goes on for ever."""

    def __init__(self, answers):
        self.answers, self.asked, self.lock = list(answers), [], threading.Lock()
        self.is_over = threading.Event()
        self.url = ""


def dies_in_the_middle(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"model": "judge-20')
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)


def hangs(handler):
    handler.server.script.is_over.wait(30)


def drips(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    try:
        while not handler.server.script.is_over.wait(0.02):
            handler.wfile.write(b" ")
            handler.wfile.flush()
    except OSError:
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Say nothing: clients that give up are part of the tests."""


@contextmanager
def serving(*answers):
    server = _Server(("127.0.0.1", 0), _Handler)
    server.script = Script(answers or [completion()])
    server.script.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.script
    finally:
        server.script.is_over.set()
        server.shutdown()
        server.server_close()
        thread.join()
