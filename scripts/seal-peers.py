"""Judges a sealed bundle with public tools: seal-peers.py BUNDLE SIGNER.pub SCHEMA.json

Each check must pass for the bundle, and fail for a copy that was changed.
"""
import base64
import hashlib
import json
import pathlib
import shutil
import sys
import tempfile

import bagit
import jsonschema
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from google.protobuf import json_format
from in_toto_attestation.v1 import statement
from in_toto_attestation.v1.statement_pb2 import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

bundle, signer, schema = map(pathlib.Path, sys.argv[1:])


def signature(bundle):
    data = json.loads((bundle / "custody/seal-000.dsse.json").read_text())
    key = load_pem_public_key(signer.read_bytes())
    key = SSlibKey.from_crypto(key, keyid=data["signatures"][0]["keyid"])
    envelope = Envelope.from_dict(data)  # takes data apart
    envelope.verify([key], 1)
    return json.loads(envelope.payload)


def place(subject):
    """The file of a subject and, if it is a line of it, its index. Lines after it are of later actions."""
    file, _, line = subject.partition(" line ")
    return file, int(line) - 1 if line else None


def attestation(bundle):
    said = signature(bundle)
    statement.Statement.copy_from_pb(json_format.ParseDict(said, Statement())).validate()
    for subject in said["subject"]:
        name, want = subject["name"], subject["digest"]["sha256"]
        file, line = place(name)
        data = (bundle / file).read_bytes()
        if line is not None:
            data = data.split(b"\n")[line]
        assert hashlib.sha256(data).hexdigest() == want, name


def record(bundle):
    jsonschema.validate(signature(bundle)["predicate"], json.loads(schema.read_text()))


def bag(bundle):
    bagit.Bag(str(bundle)).validate()


def changed(rel, change):
    """A copy of the bundle with one file changed."""
    copy = pathlib.Path(tempfile.mkdtemp()) / "b.pcapsule"
    shutil.copytree(bundle, copy)
    file = copy / rel
    file.write_bytes(change(file.read_bytes()))
    return copy


def payload(data):
    envelope = json.loads(data)
    said = json.loads(base64.b64decode(envelope["payload"]))
    said["predicate"]["packets"] = "many"
    envelope["payload"] = base64.b64encode(json.dumps(said).encode()).decode()
    return json.dumps(envelope).encode()


def flip(data, line=-2):
    """Changes the last byte of a line; -2 is the last one, because what follows its end counts as one."""
    lines = data.split(b"\n")
    lines[line] = lines[line][:-1] + bytes([lines[line][-1] ^ 1])
    return b"\n".join(lines)


[sealed] = [line for file, line in map(place, (s["name"] for s in signature(bundle)["subject"])) if file == "custody/log.jsonl"]
checks = [
    (signature, changed("custody/seal-000.dsse.json", payload)),
    (attestation, changed("tagmanifest-sha256.txt", flip)),
    (attestation, changed("custody/log.jsonl", lambda data: flip(data, sealed))),
    (record, changed("custody/seal-000.dsse.json", payload)),
    (bag, changed("data/bundle.json", flip)),
]
for check, bad in checks:
    check(bundle)
    try:
        check(bad)
    except Exception as e:  # each library has its own
        print(f"{check.__name__}: accepts the bundle; of a changed one it says: {type(e).__name__}")
    else:
        sys.exit(f"{check.__name__} accepts a changed bundle")
