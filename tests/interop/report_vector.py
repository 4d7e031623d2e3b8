"""Makes the vector that holds the node's reports to DSSE 1.0, with an implementation that is not ours.

    python3 tests/interop/report_vector.py > crates/agent/tests/data/report.json

Needs the package `cryptography`. Secret 00 01 ... 1f, payload {"schema":1}.
"""

import base64
import hashlib
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

TYPE = b"application/vnd.twinroot.report+json"
PAYLOAD = b'{"schema":1}'


def main():
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    signed = b" ".join(
        [b"DSSEv1", str(len(TYPE)).encode(), TYPE, str(len(PAYLOAD)).encode(), PAYLOAD]
    )
    envelope = {
        "payloadType": TYPE.decode(),
        "payload": base64.b64encode(PAYLOAD).decode(),
        "signatures": [
            {
                "keyid": hashlib.sha256(public).hexdigest(),
                "sig": base64.b64encode(key.sign(signed)).decode(),
            }
        ],
    }
    print(json.dumps(envelope, separators=(",", ":")))


main()
