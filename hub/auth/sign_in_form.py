"""The sign-in page's form: bounded before anything else looks at it."""

from __future__ import annotations

from jupyterhub.handlers.login import LoginHandler

LONGEST_NAME = 32
LONGEST_FIELD = 1024
_MOST_FIELDS = 16


class SignInHandler(LoginHandler):  # type: ignore[misc]  # JupyterHub is untyped
    """JupyterHub's, but a form that no person fills in comes to it as an empty one."""

    async def prepare(self) -> None:
        """Cut the form down before anything of it is looked at."""
        if self.request.method == "POST":
            self._cut_down()
        await super().prepare()

    def _cut_down(self) -> None:
        request = self.request
        body = request.body_arguments
        kept = body if _is_plain(body) else {}
        # Pages and logs repeat the name that was given.
        form = {"username": [b""], "password": [b""], **kept}
        if body.get("_xsrf") and len(body["_xsrf"][0]) <= LONGEST_FIELD:
            form["_xsrf"] = body["_xsrf"][:1]
        request.body_arguments = form
        request.arguments = {**request.query_arguments, **form}
        request.body = b""
        request.files = {}


def _is_plain(form: dict[str, list[bytes]]) -> bool:
    """Tell whether every field is there once, is text and has an ordinary length."""
    if len(form) > _MOST_FIELDS or len(form.get("username", [b""])[0]) > LONGEST_NAME:
        return False
    for name, values in form.items():
        if len(values) != 1 or len(name) + len(values[0]) > LONGEST_FIELD:
            return False
        try:
            text = values[0].decode()
        except UnicodeDecodeError:
            return False
        if "\0" in text:  # it would end the word early in PAM
            return False
    return True
