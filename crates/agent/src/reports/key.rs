//! The node's own key: made once, at the first start that acts, and kept beside the records. It says
//! that a report comes from this node and from no other; nothing on the node is believed by it.

use ed25519_dalek::{Signer, SigningKey};
use twinroot_trust::digest::Digest;

/// An ed25519 key of this node.
#[derive(Clone)]
pub struct NodeKey(SigningKey);

impl std::fmt::Debug for NodeKey {
    /// Never the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("NodeKey").field(&self.public()).finish()
    }
}

impl NodeKey {
    /// From its 32 secret bytes, which must come from the system's random numbers.
    #[must_use]
    pub fn from_secret(secret: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&secret))
    }

    /// The public key, in hex: what `status` shows and whoever collects reports keeps.
    #[must_use]
    pub fn public(&self) -> String {
        let bytes = self.0.verifying_key().to_bytes();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The name of the key in a report: SHA-256 of the raw public key.
    #[must_use]
    pub fn id(&self) -> String {
        Digest::of(&self.0.verifying_key().to_bytes()).to_string()
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}
