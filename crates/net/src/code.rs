//! Pairing codes: 128 random bits from the operating system, written as 12 English BIP39 words.
//!
//! A code is made by the machine only; the security of pairing rests on its 128 bits (`docs/pairing.md`).

use bip39::{Language, Mnemonic};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{Error, Result};

/// How many words a code has.
pub const WORDS: usize = 12;

/// The longest text that is looked at, in bytes: 12 words of 8 letters need 107.
const MAX_TEXT: usize = 4096;

/// A pairing code. Whoever has it can pair with the device that made it. Wiped when dropped, and never logged.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Code([u8; 16]);

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Code(..)")
    }
}

impl Code {
    /// A new code.
    pub fn generate() -> Result<Self> {
        let mut code = Self([0; 16]);
        crate::random(&mut code.0)?;
        Ok(code)
    }

    /// The code with these 128 bits.
    pub fn from_entropy(entropy: [u8; 16]) -> Self {
        Self(entropy)
    }

    /// The 128 bits.
    pub(crate) fn entropy(&self) -> &[u8; 16] {
        &self.0
    }

    /// The 12 words, with single blanks between them.
    pub fn words(&self) -> Zeroizing<String> {
        // 16 bytes are always a valid entropy, so this cannot fail.
        let mut words = Mnemonic::from_entropy(&self.0).map(|m| m.words().collect::<Vec<_>>()).unwrap_or_default();
        let text = Zeroizing::new(words.join(" "));
        words.clear();
        text
    }

    /// Reads a code as a person types it: any case, any blanks (also a no-break space), quotes around it.
    /// Names a misspelt word by its position, from 1, and never repeats the text.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_TEXT {
            return Err(Error::CodeWordCount { found: text.split_whitespace().count() });
        }
        let text = Zeroizing::new(text.to_lowercase());
        let words: Vec<&str> = text
            .split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '“' | '”' | '„' | '\u{feff}' | '\u{200b}'))
            .filter(|word| !word.is_empty())
            .collect();
        if words.len() != WORDS {
            return Err(Error::CodeWordCount { found: words.len() });
        }
        let list = Language::English.word_list();
        if let Some(index) = words.iter().position(|word| list.binary_search(word).is_err()) {
            return Err(Error::CodeWord { position: index + 1, nearest: nearest(words[index], list) });
        }
        let joined = Zeroizing::new(words.join(" "));
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &joined).map_err(|_| Error::CodeChecksum)?;
        let mut entropy = Zeroizing::new(mnemonic.to_entropy());
        let bytes = <[u8; 16]>::try_from(entropy.as_slice()).map_err(|_| Error::CodeChecksum);
        entropy.zeroize();
        bytes.map(Self)
    }
}

/// Up to three words of the list that a person may have meant.
fn nearest(word: &str, list: &[&str]) -> Vec<String> {
    let candidates: Vec<String> = list.iter().map(|&word| word.to_owned()).collect();
    spacedrive_api::nearest(word, &candidates)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";

    proptest! {
        #[test]
        fn codes_round_trip(entropy: [u8; 16]) {
            let code = Code::from_entropy(entropy);
            let words = code.words();
            prop_assert_eq!(words.split(' ').count(), WORDS);
            prop_assert_eq!(&Code::parse(&words).unwrap(), &code);
            prop_assert_eq!(&Code::parse(&format!("  \"{}\"\n", words.to_uppercase().replace(' ', "\u{a0} \t"))).unwrap(), &code);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = Code::parse(&text);
        }
    }

    #[test]
    fn two_codes_differ() {
        assert_ne!(Code::generate().unwrap(), Code::generate().unwrap());
    }

    #[test]
    fn the_number_of_words_is_checked() {
        for (text, count) in [("", 0), ("one two three", 3), (&GOOD[8..], 11), (&format!("{GOOD} about"), 13)] {
            assert!(matches!(Code::parse(text), Err(Error::CodeWordCount { found }) if found == count), "{text}");
        }
    }

    #[test]
    fn a_misspelt_word_is_named_by_position_with_the_nearest_words() {
        let text = GOOD.replacen("abandon", "abandn", 1);
        let Err(Error::CodeWord { position, nearest }) = Code::parse(&text) else { panic!("accepted") };
        assert_eq!((position, nearest[0].as_str()), (1, "abandon"));
        let Err(Error::CodeWord { position, .. }) = Code::parse(&GOOD.replace("about", "abouts")) else { panic!("accepted") };
        assert_eq!(position, 12);
    }

    #[test]
    fn the_check_bits_are_checked() {
        assert!(Code::parse(GOOD).is_ok());
        assert!(matches!(Code::parse(&GOOD.replace("about", "abandon")), Err(Error::CodeChecksum)));
    }

    #[test]
    fn a_code_is_not_shown_by_debug() {
        assert_eq!(format!("{:?}", Code::from_entropy([7; 16])), "Code(..)");
    }
}
