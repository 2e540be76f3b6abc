//! Wire text made safe for terminals and pages.

use std::fmt::{self, Write as _};

/// Displays bytes that came from the wire: control characters, bidirectional and zero-width characters, and bytes that are
/// not UTF-8 are written as `\xNN` or `\u{NNNN}`, so that nothing hostile reaches a terminal (CWE-150).
#[derive(Clone, Copy)]
pub struct Untrusted<'a>(pub &'a [u8]);

impl<'a> Untrusted<'a> {
    /// Wraps text.
    pub const fn text(text: &'a str) -> Self {
        Self(text.as_bytes())
    }
}

impl fmt::Display for Untrusted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                if is_harmless(letter) {
                    f.write_char(letter)?;
                } else if letter.is_ascii() {
                    write!(f, "\\x{:02x}", letter as u32)?;
                } else {
                    write!(f, "\\u{{{:x}}}", letter as u32)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Whether a character can neither steer a terminal nor hide or reorder what stands beside it.
fn is_harmless(letter: char) -> bool {
    !letter.is_control()
        && !matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_gets_through() {
        let hostile = b"a\x1b]52;c;AAAA\x07\r\n\xc2\x9b\xe2\x80\xae\xff\xe2\x80\x8bz";
        assert_eq!(Untrusted(hostile).to_string(), "a\\x1b]52;c;AAAA\\x07\\x0d\\x0a\\u{9b}\\u{202e}\\xff\\u{200b}z");
    }

    #[test]
    fn plain_text_stays_as_it_is() {
        assert_eq!(Untrusted::text("año/part-00001.parquet").to_string(), "año/part-00001.parquet");
    }
}
