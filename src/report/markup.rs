//! Text made safe for XML and HTML.

use std::fmt::{self, Write as _};

use crate::model::Untrusted;

/// Displays text with markup escaped, and control characters made visible first.
pub(super) struct Markup<'a>(pub(super) &'a str);

impl fmt::Display for Markup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in Untrusted::text(self.0).to_string().chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                _ => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_control_characters_are_text() {
        assert_eq!(Markup("</script><a b='c\"d'>&\x1b").to_string(), "&lt;/script&gt;&lt;a b=&#39;c&quot;d&#39;&gt;&amp;\\x1b");
    }
}
