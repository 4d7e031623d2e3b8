//! Promise: the JSON front end accepts only documents that have exactly one reading, and the
//! canonical form is the one that signatures of other TUF implementations cover.
#![allow(clippy::unwrap_used)] // a helper that cannot go on panics, as its test would

use proptest::prelude::*;
use twinroot_trust::json::{JsonError, Object, Value, canonical, compact, parse, pretty};

/// A rule of the reader, seen from outside: the variant name.
fn refusal(bytes: &[u8]) -> &'static str {
    match parse(bytes).expect_err("the document must be refused") {
        JsonError::NotUtf8 { .. } => "not utf-8",
        JsonError::ByteOrderMark => "byte order mark",
        JsonError::DuplicateMember { .. } => "duplicate",
        JsonError::TooDeep { .. } => "too deep",
        JsonError::NotAWholeNumber { .. } => "number",
        JsonError::TrailingBytes { .. } => "trailing",
        JsonError::LoneSurrogate { .. } => "surrogate",
        JsonError::NulCharacter { .. } => "nul",
        JsonError::Syntax { .. } => "syntax",
    }
}

#[test]
fn ambiguous_documents_are_refused_by_the_rule_they_break() {
    let cases: &[(&[u8], &str)] = &[
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"\"\xff\"", "not utf-8"),
        (b"\xfe\xff\x00{\x00}", "not utf-8"),
        (br#"{"a":1,"a":1}"#, "duplicate"),
        (br#"{"x":[{"a":1,"b":2,"a":3}]}"#, "duplicate"),
        (br#"{"version":1,"vers\u0069on":2}"#, "duplicate"),
        (b"1.0", "number"),
        (b"1e3", "number"),
        (b"1E3", "number"),
        (b"-0", "number"),
        (b"-1", "number"),
        (b"01", "number"),
        (b"9223372036854775808", "number"),
        (b"18446744073709551616", "number"),
        (b"99999999999999999999999999999999999999", "number"),
        (b"{} x", "trailing"),
        (b"{}{}", "trailing"),
        (b"{}\0", "trailing"),
        (br#""\ud800""#, "surrogate"),
        (br#""\udc00""#, "surrogate"),
        (br#""\ud800\u0041""#, "surrogate"),
        (br#""\ud83d\ud83d""#, "surrogate"),
        (br#""a\u0000b""#, "nul"),
        (b"\"a\0b\"", "nul"),
        (b"\"a\nb\"", "syntax"),
        (br#""\x41""#, "syntax"),
        (br#""\u00g0""#, "syntax"),
        (br#""\u00"#, "syntax"),
        (b"", "syntax"),
        (b"   ", "syntax"),
        (b"{", "syntax"),
        (b"[1,]", "syntax"),
        (br#"{"a":1,}"#, "syntax"),
        (br#"{'a':1}"#, "syntax"),
        (br#"{a:1}"#, "syntax"),
        (b"NaN", "syntax"),
        (b"Infinity", "syntax"),
        (b"tru", "syntax"),
        (b"// c\n{}", "syntax"),
        (b"\"open", "syntax"),
    ];
    for (bytes, rule) in cases {
        assert_eq!(
            refusal(bytes),
            *rule,
            "{:?}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[test]
fn nesting_is_bounded_at_32_and_ten_thousand_levels_do_not_overflow_the_stack() {
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    assert!(parse(&nested(32)).is_ok());
    assert_eq!(refusal(&nested(33)), "too deep");
    assert_eq!(refusal(&nested(10_000)), "too deep");
    assert_eq!(refusal(&b"{\"a\":".repeat(10_000)), "too deep");
}

#[test]
fn the_largest_integer_is_two_to_the_63_minus_one() {
    assert_eq!(
        parse(b"9223372036854775807"),
        Ok(Value::Integer(9_223_372_036_854_775_807))
    );
    assert_eq!(parse(b"0"), Ok(Value::Integer(0)));
}

#[test]
fn a_member_that_stands_a_hundred_thousand_times_is_found_quickly() {
    let mut text = String::from("{");
    for number in 0..100_000 {
        text.push_str(&format!("\"m{number}\":0,"));
    }
    text.push_str("\"m7\":1}");
    assert_eq!(refusal(text.as_bytes()), "duplicate");
}

#[test]
fn the_canonical_form_escapes_only_backslash_and_quote_and_sorts_by_code_point() {
    // U+FB01 sorts before U+1F600 by code point, but after it by UTF-16 unit (0xFB01 > 0xD83D).
    let tree =
        parse(br#"{"\ud83d\ude00":1,"\ufb01":[true,null,false],"b":"q\"\\\n\u00e9/","a":{}}"#);
    let expected =
        "{\"a\":{},\"b\":\"q\\\"\\\\\n\u{e9}/\",\"\u{fb01}\":[true,null,false],\"\u{1f600}\":1}";
    assert_eq!(
        String::from_utf8(canonical(&tree.unwrap())).unwrap(),
        expected
    );
}

#[test]
fn the_canonical_form_does_not_normalise_text() {
    let composed = canonical(&Value::from("\u{e9}"));
    let decomposed = canonical(&Value::from("e\u{301}"));
    assert_eq!(composed, "\"\u{e9}\"".as_bytes());
    assert_eq!(decomposed, "\"e\u{301}\"".as_bytes());
}

#[test]
fn builders_replace_a_member_of_the_same_name() {
    let mut object = Object::new().with("a", 1u32).with("b", "x").with("a", 2u32);
    assert_eq!(compact(&object.clone().into()), r#"{"a":2,"b":"x"}"#);
    assert_eq!(object.remove("a"), Some(Value::Integer(2)));
    assert_eq!(object.len(), 1);
}

#[test]
fn pretty_text_is_indented_by_one_space_and_ends_in_a_line_feed() {
    let value = Value::from(
        Object::new()
            .with("a", Value::from_iter(["x"]))
            .with("e", Object::new()),
    );
    assert_eq!(
        pretty(&value),
        "{\n \"a\": [\n  \"x\"\n ],\n \"e\": {}\n}\n"
    );
}

fn any_text() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            Just('"'),
            Just('\\'),
            Just('\n'),
            Just('\u{1}'),
            Just('\u{7f}'),
            Just('\u{2028}'),
            any::<char>()
        ],
        0..8,
    )
    .prop_map(|characters| {
        characters
            .into_iter()
            .filter(|character| *character != '\0')
            .collect()
    })
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (0..=9_223_372_036_854_775_807u64).prop_map(Value::Integer),
        any_text().prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            proptest::collection::vec((any_text(), inner), 0..6).prop_map(|members| {
                let mut object = Object::new();
                for (name, value) in members {
                    object.insert(name, value);
                }
                Value::Object(object)
            }),
        ]
    })
}

/// The same tree with the members of every object in reverse order.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(reversed).collect(),
        Value::Object(members) => {
            let mut pairs: Vec<_> = members.iter().collect();
            pairs.reverse();
            let mut object = Object::new();
            for (name, inner) in pairs {
                object.insert(name, reversed(inner));
            }
            object.into()
        }
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same(value in any_value()) {
        prop_assert_eq!(parse(compact(&value).as_bytes()).unwrap(), value.clone());
        prop_assert_eq!(parse(pretty(&value).as_bytes()).unwrap(), value);
    }

    #[test]
    fn layout_and_member_order_do_not_change_the_canonical_form(value in any_value()) {
        let pretty_tree = parse(pretty(&reversed(&value)).as_bytes()).unwrap();
        prop_assert_eq!(canonical(&pretty_tree), canonical(&value));
    }

    #[test]
    fn the_canonical_form_of_text_without_control_characters_parses_to_the_same_tree(value in any_value()) {
        let bytes = canonical(&value);
        if !bytes.iter().any(|byte| *byte < 0x20) {
            prop_assert_eq!(canonical(&parse(&bytes).unwrap()), bytes);
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn no_json_like_text_makes_the_reader_panic(text in "[\\[\\]{}:,\"\\\\u0-9a-fd8 truefalsn.eE+-]{0,60}") {
        let _ = parse(text.as_bytes());
    }
}
