"""Give uv the settings of pip that say where packages come from.

uv reads only settings of its own, but an index, a proxy or a folder of wheels was most likely set
up for pip. A setting that the user has made for uv comes first.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from attrs import frozen

_SECTIONS = ("global", "install", ":env:")
"""Of pip's settings; later ones come first (pip/_internal/cli/parser.py, `_update_defaults`)."""

_OPTIONS = {
    "index-url": ("--default-index", ("UV_DEFAULT_INDEX", "UV_INDEX_URL")),
    "extra-index-url": ("--index", ("UV_INDEX", "UV_EXTRA_INDEX_URL")),
    "find-links": ("--find-links", ("UV_FIND_LINKS",)),
    "trusted-host": ("--allow-insecure-host", ("UV_INSECURE_HOST",)),
    "constraint": ("--constraints", ("UV_CONSTRAINT",)),
    "keyring-provider": ("--keyring-provider", ("UV_KEYRING_PROVIDER",)),
}
"""pip's setting to uv's option, and to the variables of uv that override it."""

_FLAGS = {"no-index": "--no-index", "require-hashes": "--require-hashes"}

_VARIABLES = {
    "cert": ("SSL_CERT_FILE",),
    "proxy": ("HTTP_PROXY", "HTTPS_PROXY"),
    "timeout": ("UV_HTTP_TIMEOUT",),
}
"""pip's setting to the variables that uv reads."""

_TRUE = ("y", "yes", "t", "true", "on", "1")


@frozen
class IndexSettings:
    """Options and environment variables for uv."""

    options: tuple[str, ...]
    environment: Mapping[str, str]


def index_settings(environment: Mapping[str, str]) -> IndexSettings:
    """pip's settings for uv, except those that `environment` already has for uv."""
    settings = _pip_settings()
    return IndexSettings(
        tuple(_options(settings, environment)),
        {
            name: settings[setting]
            for setting, names in _VARIABLES.items()
            for name in names
            if setting in settings and not _has(environment, name)
        },
    )


def _options(settings: Mapping[str, str], environment: Mapping[str, str]) -> Iterator[str]:
    for setting, (option, variables) in _OPTIONS.items():
        if any(_has(environment, name) for name in variables):
            continue
        for value in settings.get(setting, "").split():
            yield from (option, _absolute(value))
        if setting == "extra-index-url" and settings.get(setting):
            # pip takes the newest version of all indexes; uv, the first with the package.
            yield from ("--index-strategy", "unsafe-best-match")
    for setting, option in _FLAGS.items():
        if settings.get(setting, "").lower() in _TRUE:
            yield option


def _has(environment: Mapping[str, str], name: str) -> bool:
    return bool(environment.get(name) or environment.get(name.lower()))


def _absolute(value: str) -> str:
    """uv runs in another folder."""
    path = Path(value).expanduser()
    return str(path.absolute()) if "://" not in value and path.exists() else value


def _pip_settings() -> dict[str, str]:
    """pip's settings by name, from its files and the environment; empty without pip."""
    if find_spec("pip") is None:
        return {}
    listed = subprocess.run(
        [sys.executable, "-I", "-m", "pip", "config", "list"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        errors="replace",
        check=False,
    )
    sections: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in listed.stdout.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in sections:
            # `pip config list` prints values as Python literals.
            sections[section][name] = str(ast.literal_eval(value))
    return {name: value for each in sections.values() for name, value in each.items()}
