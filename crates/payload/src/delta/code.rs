//! One zstd frame, decoded in one step into a buffer of the declared length.

use alloc::format;
use alloc::string::{String, ToString};

use zstd_safe::DCtx;

use crate::code::{ZSTD_MAGIC, reason};

/// Decodes `frame`, all of it one frame, into all of `out`; `prefix` is the content before the
/// first byte. A window of any size costs nothing, since the decoder works in `out` itself, and it
/// cannot write past it.
pub(crate) fn frame_into(frame: &[u8], prefix: &[u8], out: &mut [u8]) -> Result<(), String> {
    if !frame.starts_with(&ZSTD_MAGIC) {
        return Err("it does not start with a zstd frame".to_string());
    }
    let length = zstd_safe::find_frame_compressed_size(frame).map_err(reason)?;
    if length != frame.len() {
        return Err(format!("{} bytes follow its frame", frame.len() - length));
    }
    if zstd_safe::get_dict_id_from_frame(frame).is_some() {
        return Err("its zstd frame asks for a dictionary".to_string());
    }
    match content(frame) {
        Some(size) if size == out.len() as u64 => {}
        Some(size) => return Err(format!("it names {size} bytes, not {}", out.len())),
        None => return Err("its zstd frame names no content size".to_string()),
    }
    // A context a frame: the prefix is borrowed for its whole life.
    let mut context = DCtx::create();
    if !prefix.is_empty() {
        context.ref_prefix(prefix).map_err(reason)?;
    }
    let written = context.decompress(out, frame).map_err(reason)?;
    if written != out.len() {
        return Err(format!("it yields {written} bytes, not {}", out.len()));
    }
    Ok(())
}

/// The content size that a frame names.
pub(crate) fn content(frame: &[u8]) -> Option<u64> {
    zstd_safe::get_frame_content_size(frame).ok().flatten()
}
