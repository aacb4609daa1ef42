"""`cvbundle schema`."""

import json

import click

from cvbundle.authoring.schema import json_schema
from cvbundle.cli._echo import echo

SECTION = "Specs"


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of a spec, for editors: cvbundle schema > spec.schema.json

    An editor with YAML support uses it for a spec that begins with
    `# yaml-language-server: $schema=spec.schema.json`.
    """
    echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
