"""A chat-completions server for whole-program tests: answers at once by a rule, counts what it was asked, hangs while it is told to."""
import http.server
import json
import threading


class ChatServer:
    """`asked` has one text a question that arrived, `keys` the key that came with it; `go_on` cleared: answers wait. `answer` is a function of the last message's text;
    `usage` is what it says that an answer used."""

    def __init__(self, answer=lambda text: "Urgency: low"):
        self.asked, self.keys = [], []
        self.go_on = threading.Event()
        self.go_on.set()
        self.arrived = threading.Condition()
        self.answer = answer
        self.usage = {"prompt_tokens": 20, "completion_tokens": 3, "total_tokens": 23}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                text = body["messages"][-1]["content"]
                with outer.arrived:
                    outer.asked.append(text)
                    outer.keys.append(self.headers["authorization"])
                    outer.arrived.notify_all()
                outer.go_on.wait()
                answer = json.dumps({"id": "1", "object": "chat.completion", "model": body["model"],
                                     "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": outer.answer(text)}}],
                                     "usage": outer.usage}).encode()
                try:
                    self.send_response(200)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                except OSError:
                    self.close_connection = True  # who asked is gone: that is what some tests are about

            def log_message(self, *unused):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        self.lane = ["--lane", "openai", "--endpoint", self.endpoint, "--model", "rule", "--privacy", "public_ok"]

    def wait_for(self, count, seconds=60):
        with self.arrived:
            return self.arrived.wait_for(lambda: len(self.asked) >= count, seconds)

    def close(self):
        self.go_on.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
