//! The forms of a name that words are compared with. Names are bytes: what is not UTF-8 stays as it is.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Composed (NFC), so that the same letters typed in two ways are equal.
pub(crate) fn exact(name: &[u8]) -> Vec<u8> {
    if name.is_ascii() {
        return name.to_vec();
    }
    chunks(name, |text, out| out.extend(text.nfc()))
}

/// Composed and lower-cased.
pub(crate) fn folded(name: &[u8]) -> Vec<u8> {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    chunks(name, |text, out| out.extend(text.nfc().flat_map(char::to_lowercase)))
}

/// Without accents, and lower-cased.
pub(crate) fn loose(name: &[u8]) -> Vec<u8> {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    chunks(name, |text, out| {
        let plain = text.nfd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase);
        out.extend(plain.filter(|c| !is_combining_mark(*c)));
    })
}

/// Whether a word asks for its case to be respected: when it has a capital letter.
pub(crate) fn has_capital(word: &str) -> bool {
    word.chars().any(char::is_uppercase)
}

fn chunks(name: &[u8], convert: impl Fn(&str, &mut String)) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut text = String::new();
    for chunk in name.utf8_chunks() {
        text.clear();
        convert(chunk.valid(), &mut text);
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(chunk.invalid());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_accents_and_composition() {
        assert_eq!(folded("NAÏVE ☕".as_bytes()), "naïve ☕".as_bytes());
        assert_eq!(folded("nai\u{308}ve".as_bytes()), "naïve".as_bytes());
        assert_eq!(exact("Nai\u{308}ve".as_bytes()), "Naïve".as_bytes());
        assert_eq!(loose("Ñandú nai\u{308}ve".as_bytes()), b"nandu naive");
        assert_eq!(folded(b"BAD-\xFF-Name"), b"bad-\xFF-name");
        assert_eq!(loose(b"\xC3\xA9\xFF"), b"e\xFF");
    }
}
