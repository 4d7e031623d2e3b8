//! The real adapters: files, block devices, ESP, HTTP, records.
