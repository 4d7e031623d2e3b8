//! A signed document: the signed part as a tree, and the signatures under it.

use twinroot_trust::json::{self, Object, Value, canonical};

use super::Document;
use crate::keys::{hex, unhex};

/// One signature with the key it claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Key id.
    pub key_id: String,
    /// Raw bytes.
    pub bytes: Vec<u8>,
}

/// What is in a metadata file and in a draft alike: a draft is a document that lacks signatures,
/// so any TUF tool can look at it and add its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The signed part.
    pub signed: Value,
    /// Signatures in the order in which they came.
    pub signatures: Vec<Signature>,
}

impl Envelope {
    /// An unsigned document.
    pub fn new(document: &impl Document) -> Self {
        Self {
            signed: document.to_value(),
            signatures: Vec::new(),
        }
    }

    /// Reads a metadata file or draft; `Err` is a sentence.
    ///
    /// # Errors
    /// What is malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let tree = json::parse(bytes).map_err(|cause| cause.to_string())?;
        let object = tree.as_object().ok_or("it is no JSON object")?;
        let signed = object.get("signed").ok_or("'signed' is missing")?.clone();
        let listed = object
            .get("signatures")
            .and_then(Value::as_array)
            .ok_or("'signatures' is missing")?;
        let signatures: Option<Vec<Signature>> = listed.iter().map(read_signature).collect();
        let signatures = signatures.ok_or("a signature is malformed")?;
        Ok(Self { signed, signatures })
    }

    /// The signed part as its type.
    ///
    /// # Errors
    /// What does not fit the type.
    pub fn document<D: Document>(&self) -> Result<D, String> {
        D::from_value(&self.signed)
    }

    /// The bytes that signatures cover.
    pub fn message(&self) -> Vec<u8> {
        canonical(&self.signed)
    }

    /// Adds a signature, replacing an earlier one of the same key.
    pub fn sign(&mut self, key_id: String, bytes: Vec<u8>) {
        self.signatures.retain(|known| known.key_id != key_id);
        self.signatures.push(Signature { key_id, bytes });
    }

    /// The file's bytes: JSON for people, since auditors read it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let signatures: Value = self
            .signatures
            .iter()
            .map(|one| {
                Object::new()
                    .with("keyid", one.key_id.as_str())
                    .with("sig", hex(&one.bytes))
            })
            .collect();
        let tree = Object::new()
            .with("signatures", signatures)
            .with("signed", self.signed.clone());
        json::pretty(&tree.into()).into_bytes()
    }
}

fn read_signature(value: &Value) -> Option<Signature> {
    let object = value.as_object()?;
    Some(Signature {
        key_id: object.get("keyid")?.as_str()?.to_owned(),
        bytes: unhex(object.get("sig")?.as_str()?)?,
    })
}
