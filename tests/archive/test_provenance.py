"""The provenance in an archive can be read by the libraries of its formats."""

import json
from pathlib import Path

from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from rocrate.rocrate import ROCrate

from cvbundle.archive.pack import archive_bundle
from cvbundle.archive.unpack import unpack_archive
from cvbundle.compiler.build import Compiled
from cvbundle.files.digest import sha256_file

WEIGHTS = "adapter/pytorch_lora_weights.safetensors"


def _unpacked(compiled: Compiled, folder: Path) -> Path:
    run = compiled.bundle.folder / "runs/0001"
    (run / "adapter").mkdir(parents=True)
    (run / WEIGHTS).write_bytes(b"weights")
    times = {"started": "2026-01-01T00:00:00+00:00", "stopped": "2026-01-01T01:00:00+00:00"}
    record = {"status": "complete", "attempts": [times], "digests": {WEIGHTS: "0" * 64}}
    (run / "run.json").write_text(json.dumps(record))
    target = folder / "a.tar.zst"
    archive_bundle(compiled.bundle, target, ["runs"], provenance=True)
    first = target.read_bytes()
    archive_bundle(compiled.bundle, target, ["runs"], provenance=True)
    assert target.read_bytes() == first
    return unpack_archive(target, folder / "there").bundle.folder


def test_the_statement_names_the_bundle_and_its_materials(
    compiled: Compiled, tmp_path: Path
) -> None:
    text = (_unpacked(compiled, tmp_path) / "local/provenance.intoto.json").read_text()
    message = json_format.Parse(text, statement_pb2.Statement())
    Statement.copy_from_pb(message).validate()
    assert dict(message.subject[0].digest) == {"sha256": compiled.digest}
    # SLSA's own message knows no other fields than these.
    predicate = json_format.ParseDict(json.loads(text)["predicate"], provenance_pb2.Provenance())
    materials = predicate.build_definition.resolved_dependencies
    names = {material.name or material.uri.split("@")[0] for material in materials}
    assert {"dataset.jsonl", "launch.sh", "pkg:pypi/torch", "model/model_index.json"} <= names


def test_a_run_is_a_crate_with_its_result(compiled: Compiled, tmp_path: Path) -> None:
    run = _unpacked(compiled, tmp_path) / "runs/0001"
    crate = ROCrate(str(run))
    assert crate.get(WEIGHTS)["sha256"] == sha256_file(run / WEIGHTS)
    assert [result.id for result in crate.get("#run")["result"]] == [WEIGHTS]
    assert crate.root_dataset["datePublished"] == "2026-01-01T01:00:00+00:00"
