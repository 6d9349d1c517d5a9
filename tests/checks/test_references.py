"""What docstrings and comments refer to is there, under the name that they say."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from functools import cache
from pathlib import Path

from rigs.checkout import CHECKOUT

PACKAGES = ("hub", "services", "spawners")
ROLE = re.compile(r":(?:mod|class|func|meth|data|attr|exc):`~?([\w.]+)`")
# Files that JupyterHub and Alembic expect of others.
THEIRS = ("jupyterhub_config.py", "env.py")
FILE = re.compile(r"(?<![\w*{/.-])((?:\w+/)*\w+\.py)\b")


@cache
def files() -> dict[Path, ast.Module]:
    return {
        path: ast.parse(path.read_text())
        for package in PACKAGES
        for path in sorted((CHECKOUT / package).rglob("*.py"))
    }


def module_of(path: Path) -> str:
    parts = path.relative_to(CHECKOUT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def names_in(body: list[ast.stmt], inside: str = "") -> set[str]:
    """Return what a module or class defines or imports, members as ``Class.name``."""
    found = set()
    for node in body:
        if isinstance(node, ast.ClassDef):
            found |= {inside + node.name, *names_in(node.body, f"{node.name}.")}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(inside + node.name)
            found |= {
                inside + inner.attr
                for inner in ast.walk(node)
                if isinstance(inner, ast.Attribute)
                and isinstance(inner.ctx, ast.Store)
                and inside
            }
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(name.asname or name.name).split(".")[0] for name in node.names}
        elif isinstance(node, ast.If | ast.Try):
            found |= names_in(node.body, inside)
        else:
            found |= {
                inside + inner.id
                for inner in ast.walk(node)
                if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
            }
    return found


@cache
def names() -> dict[str, set[str]]:
    """Return what each module has, by the module's name."""
    return {module_of(path): names_in(tree.body) for path, tree in files().items()}


@cache
def prose(path: Path) -> list[str]:
    """Return the docstrings and comments of a file; those below an assignment too."""
    texts = [
        node.value.value
        for node in ast.walk(files()[path])
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    return texts + [token[1] for token in tokens if token[0] == tokenize.COMMENT]


def is_there(target: str, path: Path) -> bool:
    """Tell whether a role's target is in this module, or under its full name."""
    package = path.parent.relative_to(CHECKOUT).parts
    bare = target.lstrip(".")
    up = len(target) - len(bare)
    if up:
        target = ".".join([*package[: len(package) - up + 1], bare])
    elif bare.split(".")[0] not in PACKAGES:
        here = names()[module_of(path)]
        first, _, member = bare.partition(".")
        imported = first in here and not any(n.startswith(f"{first}.") for n in here)
        return (
            bare in here
            or bool(member and imported)
            or any(name.endswith(f".{bare}") for name in here)
        )
    module, rest = target, ""
    while module and module not in names():
        module, _, last = module.rpartition(".")
        rest = f"{last}.{rest}" if rest else last
    return bool(module) and (not rest or rest in names()[module])


def test_what_a_docstring_refers_to_is_there():
    lost = [
        f"{path.relative_to(CHECKOUT)}: {target}"
        for path in files()
        for text in prose(path)
        for target in ROLE.findall(text)
        if not is_there(target, path)
    ]
    assert lost == []


def test_a_file_that_is_named_is_beside_or_under_its_path():
    lost = [
        f"{path.relative_to(CHECKOUT)}: {name}"
        for path in files()
        for text in prose(path)
        for name in FILE.findall(text)
        if name not in THEIRS
        and not any(
            (start / name).is_file()
            for start in (path.parent, *path.parent.parents)
            if start.is_relative_to(CHECKOUT)
        )
    ]
    assert lost == []
