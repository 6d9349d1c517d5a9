"""The key that a user brings, over REST: seen, kept, forgotten; never given back."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from services.common.web.routes import Call, Model, Nothing

from ..access.rights import site_rights
from ..drivers.brought import BroughtKeyDriver
from ..s3.errors import KeyNeeded, NotSupported
from ..s3.values import AccessKey
from ..service import Storage


class NewKey(Model):
    """A key of the store that the caller has, with its secret."""

    access_key: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$")]
    """Its public part."""
    secret_key: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,256}$", repr=False)]
    """Its secret part; never told again."""
    session_token: Annotated[
        str, Field(max_length=8192, pattern=r"^[\x21-\x7e]*$", repr=False)
    ] = ""
    """For keys that need one."""


class KeyFact(Model):
    """The caller's own key, without its secret."""

    access_key: str = Field(description="Empty: the caller has to enter one.")


def _own_keys(storage: Storage) -> BroughtKeyDriver:
    own_keys = storage.connection.own_keys
    if own_keys is None:
        raise NotSupported(
            "This gateway makes keys itself and takes none.",
            hint="Ask for keys by POST credentials.",
        )
    return own_keys


async def show_key(storage: Storage, call: Call) -> KeyFact:
    """Which key the caller entered; the secret is not shown."""
    own_keys = _own_keys(storage)
    try:
        key = await own_keys.key_of(call.caller.name)
    except KeyNeeded:
        return KeyFact(access_key="")
    return KeyFact(access_key=key.access_key)


async def keep_key(storage: Storage, call: Call, body: NewKey) -> KeyFact:
    """Keep the caller's key for this store, encrypted, in place of an earlier one.

    The store is asked whether it knows the key. The service then acts by it for the
    caller, and lends it whole to the caller's programs.
    """
    user = call.caller.name
    key = AccessKey(body.access_key, body.secret_key, body.session_token or None)
    rights = site_rights(storage.settings, user, sorted(call.caller.groups))
    buckets = [right.bucket for right in rights]
    await _own_keys(storage).accept(user, key, buckets)
    await storage.rows.note(user, "keep-key", "", access_key=body.access_key)
    return KeyFact(access_key=body.access_key)


async def forget_key(storage: Storage, call: Call) -> Nothing:
    """Forget the caller's key; it goes on to work elsewhere."""
    await _own_keys(storage).forget(call.caller.name)
    await storage.rows.note(call.caller.name, "forget-key", "")
    return Nothing()
