//! The strict reader. It refuses whatever two readers could understand differently.

use alloc::string::String;
use alloc::vec::Vec;

use super::{MAX_INTEGER, Object, Value};

/// How deep arrays and objects may nest. TUF documents need 7 levels; 32 leaves room for custom
/// fields and keeps the recursion of the reader far from any stack limit.
pub const MAX_DEPTH: usize = 32;

/// Why a document is not read. `at` is the byte offset of the offence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages say what each variant means
pub enum JsonError {
    #[error("bytes at {at} are not UTF-8")]
    NotUtf8 { at: usize },
    #[error("the document starts with a byte order mark")]
    ByteOrderMark,
    #[error("member {name:?} at byte {at} stands twice in one object")]
    DuplicateMember { name: String, at: usize },
    #[error("nesting at byte {at} is deeper than {MAX_DEPTH}")]
    TooDeep { at: usize },
    #[error("the number at byte {at} is not a whole number from 0 to 2^63-1 in plain digits")]
    NotAWholeNumber { at: usize },
    #[error("bytes follow the document from {at} on")]
    TrailingBytes { at: usize },
    #[error("the escape at byte {at} is half of a surrogate pair")]
    LoneSurrogate { at: usize },
    #[error("the text at byte {at} holds a NUL character")]
    NulCharacter { at: usize },
    #[error("byte {at}: expected {expected}")]
    Syntax { at: usize, expected: &'static str },
}

/// Reads one document.
///
/// # Errors
/// Names the rule that the bytes break and where; nothing is repaired.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(JsonError::ByteOrderMark);
    }
    let text = core::str::from_utf8(bytes).map_err(|error| JsonError::NotUtf8 {
        at: error.valid_up_to(),
    })?;
    let mut reader = Reader { text, at: 0 };
    reader.skip_space();
    let value = reader.value(0)?;
    reader.skip_space();
    if reader.at < text.len() {
        return Err(JsonError::TrailingBytes { at: reader.at });
    }
    Ok(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn syntax<T>(&self, expected: &'static str) -> Result<T, JsonError> {
        Err(JsonError::Syntax {
            at: self.at,
            expected,
        })
    }

    /// Steps over `byte`, or says what was expected instead.
    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), JsonError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        self.syntax(expected)
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        match self.peek() {
            Some(b'{' | b'[') if depth >= MAX_DEPTH => Err(JsonError::TooDeep { at: self.at }),
            Some(b'{') => self.object(depth + 1).map(Value::Object),
            Some(b'[') => self.array(depth + 1).map(Value::Array),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.integer().map(Value::Integer),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => self.syntax("a value"),
        }
    }

    fn word(&mut self, word: &'static str, value: Value) -> Result<Value, JsonError> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(value);
        }
        self.syntax(word)
    }

    fn object(&mut self, depth: usize) -> Result<Object, JsonError> {
        let start = self.at;
        self.expect(b'{', "'{'")?;
        self.skip_space();
        let mut members = Vec::new();
        if self.peek() != Some(b'}') {
            loop {
                let name = self.string()?;
                self.skip_space();
                self.expect(b':', "':'")?;
                self.skip_space();
                members.push((name, self.value(depth)?));
                if !self.another_follows()? {
                    break;
                }
            }
        }
        self.expect(b'}', "',' or '}'")?;
        Object::from_members(members).map_err(|name| JsonError::DuplicateMember { name, at: start })
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Value>, JsonError> {
        self.expect(b'[', "'['")?;
        self.skip_space();
        let mut items = Vec::new();
        if self.peek() != Some(b']') {
            loop {
                items.push(self.value(depth)?);
                if !self.another_follows()? {
                    break;
                }
            }
        }
        self.expect(b']', "',' or ']'")?;
        Ok(items)
    }

    /// Steps over a comma and the space around it; false where the list ends.
    fn another_follows(&mut self) -> Result<bool, JsonError> {
        self.skip_space();
        if self.peek() != Some(b',') {
            return Ok(false);
        }
        self.at += 1;
        self.skip_space();
        Ok(true)
    }

    /// Plain digits without leading zeros, sign, fraction or exponent: floats have no canonical
    /// form, and `-0`, `1e2` and `01` read differently from reader to reader.
    fn integer(&mut self) -> Result<u64, JsonError> {
        let start = self.at;
        let refused = JsonError::NotAWholeNumber { at: start };
        while matches!(
            self.peek(),
            Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
        ) {
            self.at += 1;
        }
        let digits = &self.text[start..self.at];
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        if !plain || (digits.len() > 1 && digits.starts_with('0')) {
            return Err(refused);
        }
        match digits.parse::<u64>() {
            Ok(number) if number <= MAX_INTEGER => Ok(number),
            _ => Err(refused),
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.expect(b'"', "'\"'")?;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest
                .bytes()
                .take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20));
            let length = plain.count();
            out.push_str(&rest[..length]);
            self.at += length;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                Some(0) => return Err(JsonError::NulCharacter { at: self.at }),
                _ => return self.syntax("'\"' or an escaped control character"),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        self.at += 1;
        let Some(kind) = self.peek() else {
            return self.syntax("an escape");
        };
        self.at += 1;
        Ok(match kind {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(start),
            _ => {
                return Err(JsonError::Syntax {
                    at: start,
                    expected: "an escape of JSON",
                });
            }
        })
    }

    /// `\uXXXX`, or a whole surrogate pair; `start` is where the escape began.
    fn unicode(&mut self, start: usize) -> Result<char, JsonError> {
        let lone = JsonError::LoneSurrogate { at: start };
        let first = self.four_digits()?;
        let code = match first {
            0 => return Err(JsonError::NulCharacter { at: start }),
            0xd800..0xdc00 => {
                if !self.text.as_bytes()[self.at..].starts_with(b"\\u") {
                    return Err(lone);
                }
                self.at += 2;
                let second = self.four_digits()?;
                if !(0xdc00..0xe000).contains(&second) {
                    return Err(lone);
                }
                0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            other => other,
        };
        char::from_u32(code).ok_or(lone)
    }

    fn four_digits(&mut self) -> Result<u32, JsonError> {
        let digits = self
            .text
            .as_bytes()
            .get(self.at..self.at + 4)
            .unwrap_or_default();
        let mut number = 0;
        for digit in digits {
            match char::from(*digit).to_digit(16) {
                Some(value) => number = number * 16 + value,
                None => return self.syntax("four hex digits"),
            }
        }
        if digits.len() != 4 {
            return self.syntax("four hex digits");
        }
        self.at += 4;
        Ok(number)
    }
}
