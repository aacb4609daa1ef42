"""The provenance of a bundle and its runs, in standard formats.

A bundle gets an in-toto statement with SLSA provenance (in-toto.io/Statement/v1,
slsa.dev/provenance/v1). A run gets a Process Run Crate (w3id.org/ro/wfrun/process/0.5), an RO-Crate
1.1 that describes what was run, on what, and the results.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cvbundle
from cvbundle.bundle import layout
from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.requirements import normalized
from cvbundle.bundle.run import Run
from cvbundle.bundle.verify import read_sums
from cvbundle.files.digest import sha256_file

CRATE = "ro-crate-metadata.json"

_CONFORMS = ("https://w3id.org/ro/crate/1.1", "https://w3id.org/ro/wfrun/process/0.5")
_STATUS = {
    "complete": "http://schema.org/CompletedActionStatus",
    "failed": "http://schema.org/FailedActionStatus",
}


def statement(bundle: Bundle) -> dict[str, Any]:
    """The in-toto statement of a bundle: its digest and all its inputs.

    Raises:
        UserError: a file of the bundle can't be read.
    """
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": bundle.name, "digest": {"sha256": bundle.digest}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:cvbundle:compile:1",
                "externalParameters": {"config": bundle.config},
                "resolvedDependencies": list(_materials(bundle)),
            },
            "runDetails": {
                "builder": {
                    "id": "urn:cvbundle",
                    "version": {"cvbundle": cvbundle.__version__},
                }
            },
        },
    }


def _materials(bundle: Bundle) -> Iterator[dict[str, Any]]:
    """Data, weights, packages and code."""
    sums = read_sums(bundle)
    # The manifest contains the digest of each clip.
    yield {"name": layout.DATASET, "digest": {"sha256": sums[layout.DATASET]}}
    hub = bundle.model.hub
    if hub is not None:
        address = f"https://huggingface.co/{hub.repository}"
        yield {"uri": address, "digest": {"gitCommit": hub.commit}}
    for file in bundle.model.files:
        yield {"name": f"model/{file.path}", "digest": {"sha256": file.sha256}}
    for name, version in bundle.requirements.items():
        yield {"uri": f"pkg:pypi/{normalized(name)}@{version}"}
    for name, digest in sums.items():
        if name == layout.LAUNCH or name.startswith(f"{layout.CODE}/"):
            yield {"name": name, "digest": {"sha256": digest}}


def run_crate(bundle: Bundle, run: Run) -> dict[str, Any]:
    """The RO-Crate of a run's folder.

    Raises:
        UserError: a file of the bundle, or the run's record, can't be read.
    """
    name = bundle.settings["name"]
    started = run.attempts[0].started if run.attempts else None
    stopped = run.attempts[-1].stopped if run.attempts else None
    files = list(_files(run.folder))
    subject = f"urn:cvbundle:{bundle.digest}"
    results = sorted(run.record.digests)
    action = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"training run {run.name} of {name}",
        "instrument": {"@id": "#cvbundle"},
        "object": [{"@id": subject}],
        "result": [{"@id": result} for result in results],
        **({"startTime": started} if started else {}),
        **({"endTime": stopped} if stopped else {}),
        **({"actionStatus": _STATUS[run.status]} if run.status in _STATUS else {}),
    }
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"run {run.name} of {name}",
        "description": f"What training the bundle {bundle.name} made.",
        "datePublished": stopped or started or "1970-01-01",
        "license": "not stated",
        "conformsTo": {"@id": _CONFORMS[1]},
        "hasPart": [{"@id": file["@id"]} for file in files],
        "mentions": [{"@id": "#run"}],
    }
    return {
        "@context": "https://w3id.org/ro/crate/1.1/context",
        "@graph": [
            {
                "@id": CRATE,
                "@type": "CreativeWork",
                "about": {"@id": "./"},
                "conformsTo": {"@id": _CONFORMS[0]},
            },
            root,
            action,
            {"@id": "#cvbundle", "@type": "SoftwareApplication", "name": "cvbundle"},
            {"@id": subject, "@type": "CreativeWork", "name": f"bundle {bundle.name}"},
            {"@id": _CONFORMS[1], "@type": "CreativeWork", "name": "Process Run Crate"},
            *files,
        ],
    }


def _files(folder: Path) -> Iterator[dict[str, Any]]:
    """The files of a run that are archived."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
            name = path.relative_to(folder).as_posix()
            if name != CRATE:
                yield {
                    "@id": name,
                    "@type": "File",
                    "contentSize": str(path.stat().st_size),
                    "sha256": sha256_file(path),
                }
