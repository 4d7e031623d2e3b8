#!/usr/bin/env python3
"""Reads a repository made by twinroot-publish with python-tuf's own client.

usage: python_tuf_reads_publish.py METADATA_URL TARGETS_URL ANCHOR STORE TARGET...

ANCHOR is the first root, STORE the directory in which the client keeps its metadata between
visits. Prints one line of JSON: for each TARGET the length and SHA-256 of what was downloaded, or
null where no role lists it; and the version of each role. A refusal is printed as
{"refused": NAME_OF_THE_EXCEPTION, "why": TEXT}.
"""

import hashlib
import json
import os
import sys
import tempfile

from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.ngclient import Updater


def read(metadata_url, targets_url, anchor, store, names):
    with open(anchor, "rb") as file:
        bootstrap = file.read()
    os.makedirs(store, exist_ok=True)
    with tempfile.TemporaryDirectory() as downloads:
        client = Updater(
            metadata_dir=store,
            metadata_base_url=metadata_url,
            target_dir=downloads,
            target_base_url=targets_url,
            bootstrap=bootstrap,
        )
        client.refresh()
        found = {}
        for name in names:
            info = client.get_targetinfo(name)
            if info is None:
                found[name] = None
                continue
            path = client.download_target(info, filepath=os.path.join(downloads, "target"))
            with open(path, "rb") as file:
                content = file.read()
            found[name] = {"length": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    versions = {}
    for name in sorted(os.listdir(store)):
        path = os.path.join(store, name)
        if name.endswith(".json") and os.path.isfile(path):
            with open(path, "rb") as file:
                versions[name[: -len(".json")]] = json.load(file)["signed"]["version"]
    return {"targets": found, "versions": versions}


def main():
    metadata_url, targets_url, anchor, store, *names = sys.argv[1:]
    try:
        answer = read(metadata_url, targets_url, anchor, store, names)
    except (RepositoryError, DownloadError) as refusal:
        answer = {"refused": type(refusal).__name__, "why": str(refusal)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
