"""The JSON Schema of a spec, with the rules that `allow` may name."""

from cvbundle.rules.every import acceptable_rules
from cvbundle.spec.json_schema import spec_schema


def json_schema() -> dict[str, object]:
    """The JSON Schema of a spec, for editors."""
    return spec_schema(acceptable_rules())
