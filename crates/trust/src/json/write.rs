//! Ordinary JSON text from a tree, for the files that are published. Signatures never cover it.

use alloc::string::{String, ToString};
use core::fmt::Write;

use super::{Object, Value};

/// JSON on one line, members in document order.
pub fn compact(value: &Value) -> String {
    let mut out = String::new();
    write_value(value, None, &mut out);
    out
}

/// JSON for people: one member a line, indented by one space, ending in a line feed.
pub fn pretty(value: &Value) -> String {
    let mut out = String::new();
    write_value(value, Some(0), &mut out);
    out.push('\n');
    out
}

/// `level` is the depth of indentation; `None` writes on one line.
fn write_value(value: &Value, level: Option<usize>, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Integer(number) => out.push_str(&number.to_string()),
        Value::String(text) => write_string(text, out),
        Value::Array(items) if items.is_empty() => out.push_str("[]"),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                start_item(at, level, out);
                write_value(item, level.map(|depth| depth + 1), out);
            }
            new_line(level, out);
            out.push(']');
        }
        Value::Object(members) if members.is_empty() => out.push_str("{}"),
        Value::Object(members) => write_object(members, level, out),
    }
}

fn write_object(members: &Object, level: Option<usize>, out: &mut String) {
    out.push('{');
    for (at, (name, value)) in members.iter().enumerate() {
        start_item(at, level, out);
        write_string(name, out);
        out.push_str(if level.is_some() { ": " } else { ":" });
        write_value(value, level.map(|depth| depth + 1), out);
    }
    new_line(level, out);
    out.push('}');
}

fn start_item(at: usize, level: Option<usize>, out: &mut String) {
    if at > 0 {
        out.push(',');
    }
    new_line(level.map(|depth| depth + 1), out);
}

fn new_line(level: Option<usize>, out: &mut String) {
    if let Some(depth) = level {
        out.push('\n');
        out.extend(core::iter::repeat_n(' ', depth));
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            control if control < ' ' => {
                write!(out, "\\u{:04x}", u32::from(control)).expect("writing to a String");
            }
            other => out.push(other),
        }
    }
    out.push('"');
}
