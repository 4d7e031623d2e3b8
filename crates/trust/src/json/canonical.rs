//! The OLPC canonical form, over which TUF signatures are made.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Object, Value};

/// The bytes that a signature covers.
///
/// TUF 1.0.34 section 4 lets implementations choose; all of them chose the OLPC form: no white
/// space, members sorted by code point, and in strings only the backslash and the quotation mark
/// escaped. Control characters go out raw (so the result need not be valid JSON and must never be
/// parsed again), and text is not normalised: what was signed is what was written.
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut out = String::new();
    write_value(value, &mut out);
    out.into_bytes()
}

fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Integer(number) => out.push_str(&number.to_string()),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_value(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => write_object(members, out),
    }
}

/// Sorted here, not by the tree: nothing outside this function decides the order.
/// Byte order of UTF-8 is code point order.
fn write_object(members: &Object, out: &mut String) {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_unstable_by_key(|(name, _)| *name);
    out.push('{');
    for (at, (name, value)) in sorted.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_string(name, out);
        out.push(':');
        write_value(value, out);
    }
    out.push('}');
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        if matches!(character, '\\' | '"') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}
