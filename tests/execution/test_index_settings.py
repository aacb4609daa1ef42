"""uv gets pip's settings, except those that the user made for uv."""

from pathlib import Path

import pytest

from cvbundle.execution.index_settings import index_settings


@pytest.fixture
def pip_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration file of pip; none of the machine's settings of the same names are left."""
    for name in ("PIP_FIND_LINKS", "PIP_CERT", "PIP_DEFAULT_TIMEOUT", "PIP_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "pip.conf"
    path.write_text(
        "[global]\n"
        "index-url = https://one.example/simple\n"
        "extra-index-url = https://two.example/simple https://three.example/simple\n"
        "find-links = https://wheels.example\n"
        "constraint = /nowhere/constraints.txt\n"
        "trusted-host = one.example\n"
        "proxy = http://proxy.example:3128\n"
        "cert = /etc/company.pem\n"
        "timeout = 60\n"
        "[install]\n"
        "index-url = https://install.example/simple\n"
        "[freeze]\n"
        "index-url = https://other.example/simple\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(path))
    return path


def test_settings_of_pip_are_given_to_uv(pip_conf: Path) -> None:
    settings = index_settings({})
    assert " ".join(settings.options) == (
        "--default-index https://install.example/simple "
        "--index https://two.example/simple --index https://three.example/simple "
        "--index-strategy unsafe-best-match "
        "--find-links https://wheels.example "
        "--allow-insecure-host one.example "
        "--constraints /nowhere/constraints.txt"
    )
    assert settings.environment == {
        "SSL_CERT_FILE": "/etc/company.pem",
        "HTTP_PROXY": "http://proxy.example:3128",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "UV_HTTP_TIMEOUT": "60",
    }


def test_variables_of_pip_override_its_files(
    pip_conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://env.example/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    options = index_settings({}).options
    assert options[:2] == ("--default-index", "https://env.example/simple")
    assert options[-1] == "--no-index"


def test_settings_made_for_uv_are_kept(pip_conf: Path) -> None:
    settings = index_settings(
        {
            "UV_DEFAULT_INDEX": "https://uv.example/simple",
            "UV_INDEX": "https://more.example/simple",
            "UV_FIND_LINKS": "/wheels",
            "https_proxy": "http://uv.example",
        }
    )
    assert set(settings.options) == {
        "--allow-insecure-host",
        "one.example",
        "--constraints",
        "/nowhere/constraints.txt",
    }
    assert "HTTPS_PROXY" not in settings.environment
