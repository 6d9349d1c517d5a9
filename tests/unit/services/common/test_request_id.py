"""A request has one id: in the answer, in every line that is logged, and to others."""

from __future__ import annotations

import json
import logging

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import AsyncHTTPTestCase
from tornado.web import Application

from services.common.listening import NamedRequests, log_request
from services.common.web.answers import AnswerHandler
from services.common.web.errors import NotThere
from services.common.web.shapes import openai
from spawners.common.request_id import (
    HEADER,
    begin_request,
    current_request,
    log_requests,
    request_headers,
)

log = logging.getLogger("of-a-test")


class Handler(AnswerHandler):
    def initialize(self) -> None:
        self.prepare_answer({})
        self.asked_by = "ada"

    async def get(self) -> None:
        log.info("it is done")
        if self.get_argument("fail", ""):
            raise NotThere("There is no such thing.")
        self.answer_json({"sent on": request_headers()})


class SpeaksOpenAi(Handler):
    def initialize(self) -> None:
        super().initialize()
        self.error_shape = openai


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class RequestIds(AsyncHTTPTestCase):
    def get_app(self) -> Application:
        return Application(
            [("/", Handler), ("/v1", SpeaksOpenAi)], log_function=log_request
        )

    def get_http_server(self) -> HTTPServer:
        return NamedRequests(self._app)

    def setUp(self) -> None:
        super().setUp()
        self.log = Lines()
        log_requests([self.log])
        logging.getLogger().addHandler(self.log)
        self.level = logging.getLogger().level
        logging.getLogger().setLevel(logging.INFO)

    def tearDown(self) -> None:
        logging.getLogger().removeHandler(self.log)
        logging.getLogger().setLevel(self.level)
        super().tearDown()

    def test_the_clients_own_is_kept_everywhere(self):
        answer = self.fetch("/", headers={HEADER: "from-a-client.1"})
        assert answer.headers[HEADER] == "from-a-client.1"
        assert b'"from-a-client.1"' in answer.body
        assert "it is done [from-a-client.1]" in self.log.lines
        line = next(line for line in self.log.lines if line.startswith("200 GET / ada"))
        assert line.endswith(" ms) [from-a-client.1]")

    def test_an_error_tells_the_id_that_is_in_the_log(self):
        answer = self.fetch("/?fail=yes", headers={HEADER: "from-a-client.2"})
        assert answer.code == 404
        assert b'"id": "from-a-client.2"' in answer.body
        assert answer.headers[HEADER] == "from-a-client.2"
        assert any(
            line.startswith("404 GET / ada") and line.endswith("[from-a-client.2]")
            for line in self.log.lines
        )

    def test_another_protocols_error_has_it_in_the_header(self):
        answer = self.fetch("/v1?fail=yes", headers={HEADER: "from-a-client.3"})
        assert json.loads(answer.body)["error"]["type"] == "invalid_request_error"
        assert answer.headers[HEADER] == "from-a-client.3"

    def test_each_request_has_its_own(self):
        ids = {self.fetch("/").headers[HEADER] for _ in range(3)}
        assert len(ids) == 3


@pytest.mark.parametrize("told", ["", "short", "a b c d e f", "x" * 65, "line\nbreak-"])
async def test_what_is_not_well_formed_is_not_taken(told):
    request_id = begin_request(told)
    assert request_id != told
    assert current_request() == request_id
    assert request_headers() == {HEADER: request_id}


async def test_what_is_asked_outside_of_a_request_has_none():
    assert request_headers() == {}
