"""What an operator of Ceph does for the gateway, by the same calls as the guide's."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Sequence

from rigs.stores.ceph import BROKER
from rigs.stores.identity_provider import Provider
from rigs.stores.sites import Site
from services.storage.drivers.admin_users import RgwUsers
from services.storage.s3.client import S3Client
from services.storage.s3.errors import Conflict
from services.storage.s3.signing import encode_query
from services.storage.s3.transport import S3Request
from services.storage.s3.values import AccessKey

BROKER_ARN = f"arn:aws:iam:::user/{BROKER}"


def policy(*statements: dict[str, object]) -> dict[str, object]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def on_buckets(*patterns: str) -> list[str]:
    """The buckets and all that is in them, as policies write it."""
    names = [f"arn:aws:s3:::{pattern}" for pattern in patterns]
    return [*names, *(f"{name}/*" for name in names)]


def allow(
    principals: Sequence[str], actions: Sequence[str], bucket: str
) -> dict[str, object]:
    """One statement of a bucket's policy."""
    return {
        "Effect": "Allow",
        "Principal": {"AWS": list(principals)},
        "Action": list(actions),
        "Resource": on_buckets(bucket),
    }


async def iam(client: S3Client, action: str, **form: object) -> None:
    """Ask Ceph's IAM; documents are sent as compact JSON, which 16.2 wants."""
    texts = {
        name.replace("__", "."): value
        if isinstance(value, str)
        else json.dumps(value, separators=(",", ":"))
        for name, value in form.items()
    }
    body = encode_query({"Action": action, "Version": "2010-05-08", **texts})
    call = S3Request(
        "POST",
        headers={"content-type": "application/x-www-form-urlencoded; charset=utf-8"},
        body=body.encode(),
        what=action,
        service="iam",
        path="/",
    )
    await client.transport.ask(call)


async def make_role(site: Site, trust: dict[str, object] | None, *patterns: str) -> str:
    """A role that may do everything in the buckets of these names, and nothing else.

    Without ``trust`` the broker assumes it, and it may not assume itself.
    """
    name = f"role-{secrets.token_hex(4)}"
    trust = trust or trust_broker(f"arn:aws:iam:::role/{name}")
    await iam(site.client, "CreateRole", RoleName=name, AssumeRolePolicyDocument=trust)
    everything = {
        "Effect": "Allow",
        "Action": ["s3:*"],
        "Resource": on_buckets(*patterns),
    }
    await iam(
        site.client,
        "PutRolePolicy",
        RoleName=name,
        PolicyName="buckets",
        PolicyDocument=policy(everything),
    )
    return f"arn:aws:iam:::role/{name}"


async def trust_provider(site: Site, provider: Provider) -> dict[str, object]:
    """Make a provider known to Ceph; return what a role that trusts it says."""
    with contextlib.suppress(Conflict):  # known already
        await iam(
            site.client,
            "CreateOpenIDConnectProvider",
            Url=provider.issuer,
            ClientIDList__member__1="gateway",
            ThumbprintList__member__1=provider.thumbprint,
        )
    host = provider.issuer.partition("://")[2]
    return policy(
        {
            "Effect": "Allow",
            "Action": ["sts:AssumeRoleWithWebIdentity"],
            "Principal": {"Federated": [f"arn:aws:iam:::oidc-provider/{host}"]},
            "Condition": {"StringEquals": {f"{host}:app_id": "gateway"}},
        }
    )


def trust_broker(role_arn: str) -> dict[str, object]:
    """What the role says that the broker alone assumes."""
    assume = {"Action": ["sts:AssumeRole"]}
    return policy(
        {**assume, "Effect": "Allow", "Principal": {"AWS": [BROKER_ARN]}},
        {**assume, "Effect": "Deny", "Principal": {"AWS": [role_arn]}},
    )


async def stranger(site: Site) -> tuple[str, S3Client]:
    """Another user of the store: her ARN, and a client that signs as her."""
    name = f"lab-{secrets.token_hex(4)}"
    user = {"uid": name, "display-name": name}
    made = await RgwUsers(site.client)._ask("PUT", "/admin/user", user)
    key = AccessKey(made["keys"][0]["access_key"], made["keys"][0]["secret_key"])
    return f"arn:aws:iam:::user/{name}", site.client.signed_by(key)
