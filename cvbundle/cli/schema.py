"""`cvbundle schema`."""

import json

import click

from cvbundle.cli._echo import echo
from cvbundle.rules.every import acceptable_rules
from cvbundle.spec.json_schema import spec_schema

SECTION = "Specs"


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of a spec, for editors: cvbundle schema > spec.schema.json

    An editor with YAML support uses it for a spec that begins with
    `# yaml-language-server: $schema=spec.schema.json`.
    """
    echo(json.dumps(spec_schema(acceptable_rules()), indent=2, ensure_ascii=False))
