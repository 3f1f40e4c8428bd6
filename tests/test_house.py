"""The house rules: floors, sizes and habits are read from the source, so that they hold without being watched."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "mailsrv"
FILES = sorted(SOURCE.rglob("*.py"))

#: Which floor a package stands on; a module imports from its own package and from lower floors only.
FLOORS = {
    "interfaces": 0, "interfaces_figures": 0, "interfaces_sharing": 0, "interfaces_transfer": 0,
    "values": 0, "identity": 0, "queueing": 0,
    "errors": 0, "happenings": 0, "limits": 0, "notices": 0, "numbers": 0, "query": 0, "__init__": 0,
    "message": 1, "wire": 2,
    "parts": 3, "net": 3,
    "store": 4, "auth": 4, "access": 4, "transfer": 4,
    "serve": 5,
    "host": 6,
    "tap": 7, "cli": 7, "__main__": 8, "testing": 8,
}
MAX_MODULE, MAX_METHODS, MAX_BODY = 400, 20, 40
#: name -> why it may break a cap.
EXCEPTIONS: dict[str, str] = {
    "store/embedded/mailbox.py:EmbeddedMailbox": "IMailbox has 19 methods, which is one contract",
    "store/memory_mailbox.py:MemoryMailbox": "the same",
}
#: What floors 0 to 2 may never import: they do no input or output and know no time.
IMPURE = {"twisted", "socket", "os", "time", "logging", "threading", "asyncio", "apsw", "pathlib", "select"}
#: The places where anything at all may be caught (house rule "errors").
BROAD_EXCEPT = {"net/pump.py", "net/front.py", "net/connection.py", "transfer/runner.py", "host/control/run.py"}


def package_of(path: Path) -> str:
    relative = path.relative_to(SOURCE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


@lru_cache(1)
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@lru_cache(1)
def nodes_of(path: Path) -> list[ast.AST]:
    return list(ast.walk(tree_of(path)))


def is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


@lru_cache(1)
def imports(path: Path) -> list[tuple[str, int, bool]]:
    """(absolute module name, line, at module level) of every import that is not for types only."""
    tree = tree_of(path)
    blocks = filter(is_for_types_only, nodes_of(path))
    typing_only = {id(node) for block in blocks for node in ast.walk(block)}
    top = set(map(id, tree.body))
    package = ["mailsrv", *path.relative_to(SOURCE).parts[:-1]]
    found = []
    for node in nodes_of(path):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).rstrip(".")
            found += [(f"{module}.{alias.name}", node.lineno, id(node) in top) for alias in node.names]
    return found


def upward_imports(path: Path) -> list[str]:
    """Imports go down the floors."""
    own = package_of(path)
    wrong = []
    for module, line, _ in imports(path):
        parts = module.split(".")
        if parts[0] == "mailsrv" and len(parts) > 1:
            other = parts[1] if parts[1] in FLOORS else "__init__"
            allowed = other == own or FLOORS[other] < FLOORS[own] or FLOORS[other] == FLOORS[own] == 0
            if not allowed:
                wrong.append(f"line {line}: {own} (floor {FLOORS[own]}) imports {module} (floor {FLOORS[other]})")
        elif FLOORS[own] <= 2 and parts[0] in IMPURE:
            wrong.append(f"line {line}: {own} must be pure, imports {module}")
    return wrong


def large_units_and_bad_habits(path: Path) -> list[str]:
    """Units are small and habits hold."""
    name = str(path.relative_to(SOURCE))
    wrong = []
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if lines > MAX_MODULE and name not in EXCEPTIONS:
        wrong.append(f"{lines} lines, at most {MAX_MODULE}")
    for node in nodes_of(path):
        if isinstance(node, ast.ClassDef):
            methods = [n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
            if len(methods) > MAX_METHODS and f"{name}:{node.name}" not in EXCEPTIONS:
                wrong.append(f"class {node.name} has {len(methods)} methods, at most {MAX_METHODS}")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            size = (body[-1].end_lineno - body[0].lineno + 1) if body else 0
            if size > MAX_BODY and f"{name}:{node.name}" not in EXCEPTIONS:
                wrong.append(f"{node.name} has a body of {size} lines, at most {MAX_BODY}")
        elif isinstance(node, ast.Global):
            wrong.append(f"line {node.lineno}: global")
        elif isinstance(node, ast.ExceptHandler) and name not in BROAD_EXCEPT:
            caught = ast.unparse(node.type) if node.type else "everything"
            if caught in ("everything", "Exception", "BaseException"):
                wrong.append(f"line {node.lineno}: catches {caught}")
        elif isinstance(node, ast.Name) and node.id == "print" and package_of(path) != "cli":
            wrong.append(f"line {node.lineno}: print")
    wrong += [
        f"line {line}: the reactor at module level"
        for module, line, top in imports(path)
        if top and module == "twisted.internet.reactor" and name != "tap.py"
    ]
    return wrong


def undocumented_names(path: Path) -> list[str]:
    """Public names are documented."""
    tree = tree_of(path)
    missing = [] if ast.get_docstring(tree) else ["the module"]
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                missing.append(node.name)
            if isinstance(node, ast.ClassDef):
                missing += [
                    f"{node.name}.{item.name}"
                    for item in node.body
                    if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
                    and not item.name.startswith("_")
                    and not ast.get_docstring(item)
                ]
    return [f"no docstring: {name}" for name in missing]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_module_keeps_the_rules(path: Path) -> None:
    wrong = upward_imports(path) + large_units_and_bad_habits(path) + undocumented_names(path)
    assert not wrong, "\n".join(wrong)


def test_the_namespace_package_of_twisted_has_no_init() -> None:
    assert not list((ROOT / "twisted").rglob("__init__.py"))
