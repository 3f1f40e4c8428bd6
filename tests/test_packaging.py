"""A wheel and an editable install both bring the command `mailsrv` and the plugin of `twistd` (docs/decisions/0002)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("mailsrv", "twisted", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"

pytestmark = pytest.mark.slow


def python(folder: Path, *arguments: str, cwd: Path) -> str:
    """Run an environment's interpreter, away from the sources; what it wrote."""
    command = [str(folder / "bin" / "python"), *arguments]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(interpreter: Path | str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run this interpreter's pip for another environment."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", str(interpreter)]
    return subprocess.run([*command, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a setuptools as new as pyproject.toml asks for."""
    folder = tmp_path_factory.mktemp("tools")
    done = pip(sys.executable, "install", "--no-deps", "--target", str(folder), "setuptools>=77", cwd=folder)
    if done.returncode:
        if os.environ.get("CI"):
            pytest.fail(f"no setuptools: {done.stderr}")
        pytest.skip("no setuptools to build with")
    return folder


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is shipped: building writes beside the sources."""
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def environment(folder: Path, *more: Path) -> Path:
    """A fresh environment that sees the dependencies of this one, but not its mailsrv."""
    venv.create(folder, with_pip=False)
    (site,) = (folder / "lib").glob("python*/site-packages")
    # A folder named in a .pth file is searched, its own .pth files (an editable mailsrv) are not read.
    (site / "dependencies.pth").write_text("\n".join([*map(str, more), sysconfig.get_paths()["purelib"]]) + "\n")
    return folder


def check_commands(folder: Path, cwd: Path) -> None:
    """Both commands are there."""
    assert "A mail server: SMTP" in python(folder, "-c", TWISTD, "--help", cwd=cwd)
    assert "--public" in python(folder, "-c", TWISTD, "mailsrv", "--help", cwd=cwd)
    command = [str(folder / "bin" / "mailsrv"), "--help"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Administer a mail server" in done.stdout, done.stderr
    assert "sqlite" in python(folder, "-m", "mailsrv", "part", "list", cwd=cwd)
    # Twisted's own plugins are still found.
    assert "web " in python(folder, "-c", TWISTD, "--help", cwd=cwd)


def test_a_wheel(tmp_path: Path, tools: Path, sources: Path) -> None:
    folder = environment(tmp_path / "env", tools)
    done = pip(
        folder / "bin" / "python", "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(sources),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"twisted/plugins/mailsrv_service.py", "twisted/plugins/mailsrv_parts.py", "mailsrv/py.typed"} <= names
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "mailsrv").rglob("*.py")} <= names
    assert not [name for name in names if name.startswith(("tests", "twisted/__init__", "twisted/plugins/__init__"))]
    done = pip(folder / "bin" / "python", "install", "--no-deps", "--no-index", str(wheel), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert str(folder) in python(folder, "-c", "import mailsrv; print(mailsrv.__file__)", cwd=tmp_path)
    check_commands(folder, tmp_path)


def test_an_editable_install(tmp_path: Path, tools: Path, sources: Path) -> None:
    folder = environment(tmp_path / "env", tools)
    done = pip(
        folder / "bin" / "python", "install", "--no-deps", "--no-build-isolation", "-e", str(sources), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert str(sources) in python(folder, "-c", "import mailsrv; print(mailsrv.__file__)", cwd=tmp_path)
    check_commands(folder, tmp_path)
