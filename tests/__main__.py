"""Everything that must hold: lint, types, house rules and unit tests, then live tests with real clients.

    python -m tests [pytest arguments]

Run from the root of a checkout, in an environment with the extra `test` installed.  Debian packages that the live
tests need are installed when they are missing and this is root; without them those tests are skipped, unless CI is
set: then they fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: Program -> Debian package of the clients that the live tests use.
PACKAGES = {
    "swaks": "swaks", "mbsync": "isync", "fetchmail": "fetchmail", "curl": "curl", "msmtp": "msmtp", "mpop": "mpop",
    "mutt": "mutt", "gsasl": "gsasl", "doveadm": "dovecot-imapd", "postfix": "postfix", "npm": "npm",
    "haproxy": "haproxy", "openssl": "openssl", "uudecode": "sharutils", "hexbin": "macutils", "tnef": "tnef",
    "/usr/lib/dovecot/pop3": "dovecot-pop3d",
}  # fmt: skip
#: Perl module -> package: Mail::IMAPClient, and what swaks needs for TLS and AUTH, a recommendation only.
MODULES = {
    "Net::SSLeay": "libnet-ssleay-perl", "Authen::SASL": "libauthen-sasl-perl", "Authen::NTLM": "libauthen-ntlm-perl",
    "Mail::IMAPClient": "libmail-imapclient-perl",
}  # fmt: skip
#: The mechanisms of Cyrus SASL, for mbsync.
LIBRARIES = {"sasl2/libscram.so": "libsasl2-modules"}


def missing_packages() -> list[str]:
    """Packages whose program, module or library is not on this machine."""
    missing = {package for program, package in PACKAGES.items() if shutil.which(program) is None}
    missing |= {package for module, package in MODULES.items() if not has_module(module)}
    missing |= {package for name, package in LIBRARIES.items() if not any(Path("/usr/lib").glob(f"*/{name}"))}
    return sorted(missing)


def has_module(name: str) -> bool:
    """Whether Perl finds a module."""
    perl = shutil.which("perl")
    return perl is not None and subprocess.run([perl, f"-M{name}", "-e1"], capture_output=True).returncode == 0


def install_packages(packages: list[str]) -> None:
    """Install with apt, quietly; services that a package brings are kept from starting."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    install = ["apt-get", "-qq", "-y", "install", "--no-install-recommends", *packages]
    if "postfix" in packages and shutil.which("debconf-set-selections"):
        # Without a configuration of the system's own it has nothing to start with, whoever asks it to.
        subprocess.run(["debconf-set-selections"], input=b"postfix postfix/main_mailer_type select No configuration\n",
                       check=False, timeout=60)  # fmt: skip
    for command in (["apt-get", "-qq", "update"], install):
        subprocess.run(command, env=quiet, check=False, stdout=subprocess.DEVNULL, timeout=300)


def with_mark(*names: str) -> list[str]:
    """The test files in which one of these marks is written: reading all others takes each worker seconds."""
    marks = [f"mark.{name}" for name in names]
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(path.relative_to(ROOT)) for path in files if any(mark in path.read_text("utf-8") for mark in marks)]


def step(title: str, *command: str) -> None:
    """Run one check; stop at the first that fails."""
    sys.stdout.write(f"\n== {title}\n")
    sys.stdout.flush()
    began = time.monotonic()
    # Without byte code every worker, and every server that a live test starts, compiles all modules again.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    # This is the run that decides what lands: with all examples, and all storms that the store is killed in.
    environment.setdefault("HYPOTHESIS_PROFILE", "thorough")
    status = subprocess.run(command, cwd=ROOT, check=False, env=environment).returncode
    sys.stdout.write(f"== {title}: {'passed' if status == 0 else 'FAILED'} in {time.monotonic() - began:.0f} s\n")
    sys.stdout.flush()
    if status:
        sys.exit(status)


def main(arguments: list[str]) -> None:
    """All of it, cheapest first."""
    python = sys.executable
    step("byte code", python, "-m", "compileall", "-q", "-j", "0", "mailsrv", "twisted")
    step("lint", python, "-m", "ruff", "check", ".")
    step("types", python, "-m", "mypy")
    # Side by side on all cores, at most four.
    cores = ("-n", str(min(4, os.cpu_count() or 1)), "--dist", "worksteal")
    pure = ("tests/wire", "tests/message", "tests/serve", "tests/test_conversations.py")
    quick, elsewhere = ("-m", "not live and not slow"), [f"--ignore={path}" for path in pure]
    step("unit tests", python, "-m", "pytest", "-q", *quick, *elsewhere, *cores, *arguments)
    measured = ("--cov=mailsrv.wire", "--cov=mailsrv.message", "--cov-branch")
    told = ("--cov-report=term:skip-covered", "--cov-fail-under=95")
    step("branch coverage of wire and message", python, "-m", "pytest", "-q", "--no-header", *quick, *pure, *measured,
         *told, *cores)  # fmt: skip
    packages = missing_packages()
    if packages and os.geteuid() == 0 and shutil.which("apt-get"):
        sys.stdout.write(f"\n== installing {' '.join(packages)}\n")
        sys.stdout.flush()
        install_packages(packages)
    # Most of them wait: for time-outs, for other programs.  What they share, tests/live/conftest.py says.
    together = ("-n", str(1 + min(4, os.cpu_count() or 1)), "--dist", "loadscope")
    beside = ("-m", "(live or slow) and not alone", *together, *with_mark("live", "slow"))
    step("live and slow tests", python, "-m", "pytest", "-q", *beside, *arguments)
    step("tests that measure", python, "-m", "pytest", "-q", "-m", "alone", "tests/live", *arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
