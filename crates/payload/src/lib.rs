//! Turns an image into segments and back: full, reuse, verity tree.
