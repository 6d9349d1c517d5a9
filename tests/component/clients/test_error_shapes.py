"""The clients of other protocols raise their own exceptions, with our words in them."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from services.common.web import shapes
from services.common.web.errors import Problem

pytestmark = pytest.mark.long

WORDS = "There is no such model."
STATUSES = (400, 401, 403, 404, 409, 429, 500, 503)
SHAPES = {
    "openai": shapes.openai,
    "v2": shapes.text,
    "dask": shapes.dask_gateway,
    "mlflow": shapes.mlflow,
}

# Prints, by status, the exception's classes and its words.
ASK = {
    "openai": """
import openai
def ask(base):
    client = openai.OpenAI(base_url=base, api_key="x", max_retries=0)
    client.chat.completions.create(model="m", messages=[])
""",
    "v2": """
from tritonclient.http import InferenceServerClient
def ask(base):
    host, _, path = base.removeprefix("http://").partition("/")
    InferenceServerClient(f"{host}/{path}").get_model_metadata("m")
""",
    "dask": """
import asyncio
from dask_gateway import Gateway
async def get(base):
    async with Gateway(base, proxy_address=base, asynchronous=True) as gateway:
        await gateway.get_cluster("x")
def ask(base):
    asyncio.run(get(base))
""",
    "mlflow": """
from mlflow import MlflowClient
def ask(base):
    MlflowClient(tracking_uri=base).get_run("0" * 32)
""",
    "mlflow-deployments": """
from mlflow.deployments import get_deploy_client
def ask(base):
    get_deploy_client(base).predict(endpoint="iris", inputs={"inputs": [1]})
""",
}
LOOP = """
import json, sys
told = {}
for status in json.loads(sys.argv[2]):
    try:
        ask(f"{sys.argv[1]}/{status}")
        told[status] = [[], "nothing"]
    except Exception as error:
        told[status] = [[kind.__name__ for kind in type(error).__mro__], str(error)]
print(json.dumps(told))
"""
RAISED = {
    "openai": {
        400: "BadRequestError",
        401: "AuthenticationError",
        403: "PermissionDeniedError",
        404: "NotFoundError",
        409: "ConflictError",
        429: "RateLimitError",
        500: "InternalServerError",
        503: "InternalServerError",
    },
    "v2": dict.fromkeys(STATUSES, "InferenceServerException"),
    "dask": {
        400: "ValueError",
        401: "ClientResponseError",
        403: "ClientResponseError",
        404: "ValueError",
        409: "GatewayClusterError",
        429: "ClientResponseError",
        500: "GatewayServerError",
        503: "ClientResponseError",
    },
    # What it takes for passing it asks again, and then shows no answer of any shape.
    "mlflow": dict.fromkeys((400, 401, 403, 404, 409), "RestException"),
    "mlflow-deployments": dict.fromkeys(STATUSES, "HTTPError"),
}


class _Refuses(BaseHTTPRequestHandler):
    """Answers ``/SHAPE/STATUS/...`` with that error."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        _, name, status, *_ = self.path.split("/")
        problem = Problem(int(status), "odd", WORDS, "Ask for another.")
        shape = SHAPES[name]
        body = json.dumps(shape(problem, "id")).encode()
        self.send_response(shape.status(problem), shape.reason(problem) or None)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refuses)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("name", sorted(ASK))
def test_a_client_raises_its_own_with_our_words(address: str, name: str) -> None:
    done = subprocess.run(
        [
            os.environ["LANDBRIDGE_TEST_CLIENTS"],
            "-c",
            ASK[name] + LOOP,
            f"{address}/{name.partition('-')[0]}",
            json.dumps(STATUSES),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={
            "PATH": os.environ["PATH"],
            "JUPYTERHUB_API_TOKEN": "x",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        },
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    for status, kind in RAISED[name].items():
        kinds, words = told[str(status)]
        assert kind in kinds, (status, kinds, words)
        assert WORDS in words, (status, words)
