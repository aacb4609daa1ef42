"""`cvbundle explain`."""

import json

import click

from cvbundle.authoring.explain import (
    UnknownTopic,
    find_topics,
    overview_data,
    overview_text,
    topic_data,
    topic_text,
)
from cvbundle.cli._echo import echo

SECTION = "Specs"


@click.command("explain")
@click.argument("name", metavar="RULE|FIELD", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(name: str | None, as_json: bool) -> None:
    """Explain a rule or a field; without a name, list them all."""
    if name is None:
        echo(_json(overview_data()) if as_json else overview_text())
        return
    try:
        topics = find_topics(name)
    except UnknownTopic as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        echo(_json([topic_data(topic) for topic in topics]))
    else:
        echo("\n\n".join(topic_text(topic) for topic in topics))


def _json(data: object) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False)
