//! The promises of [`crate::Bootloader`].
