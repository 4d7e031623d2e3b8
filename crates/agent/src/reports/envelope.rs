//! The signed form of a report: a DSSE 1.0 envelope (<https://github.com/secure-systems-lab/dsse>), so that
//! any of its libraries checks it. Byte for byte it is on the page `docs/formats/report.md`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use twinroot_ports::{Code, Failure, Outcome};

use super::key::NodeKey;

/// Type of the payload.
pub(super) const TYPE: &str = "application/vnd.twinroot.report+json";

#[derive(Serialize)]
struct Envelope {
    #[serde(rename = "payloadType")]
    payload_type: &'static str,
    payload: String,
    signatures: [Signature; 1],
}

#[derive(Serialize)]
struct Signature {
    keyid: String,
    sig: String,
}

/// What is signed: `DSSEv1`, length and text of the type, length and bytes of the payload, with one
/// space between each.
fn pre_authentication(payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {TYPE} {} ", TYPE.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// The envelope around a payload.
pub(super) fn seal(key: &NodeKey, payload: &[u8]) -> Outcome<Vec<u8>> {
    let envelope = Envelope {
        payload_type: TYPE,
        payload: STANDARD.encode(payload),
        signatures: [Signature {
            keyid: key.id(),
            sig: STANDARD.encode(key.sign(&pre_authentication(payload))),
        }],
    };
    serde_json::to_vec(&envelope)
        .map_err(|e| Failure::new(Code::Internal, "a report", e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `tests/interop/report_vector.py` with the secret 00 01 … 1f and python's
    /// cryptography, which is not our code.
    const VECTOR: &str = include_str!("../../tests/data/report.json");

    #[test]
    fn an_envelope_is_byte_for_byte_what_another_implementation_makes() {
        let secret: Vec<u8> = (0..32).collect();
        let key = NodeKey::from_secret(secret.try_into().expect("32 bytes"));
        let sealed = seal(&key, b"{\"schema\":1}").expect("it seals");
        assert_eq!(String::from_utf8(sealed).expect("JSON"), VECTOR.trim_end());
    }
}
