//! What errors say of texts in files.

/// `text`, cut where a name in it is longer than names are: it may be a large part of a file, and said of many
/// things in it.
pub(crate) fn shortened(mut text: String) -> String {
    const LONGEST: usize = 500;
    if text.len() > LONGEST {
        let is_end = |&end: &usize| text.is_char_boundary(end);
        text.truncate((0..=LONGEST).rev().find(is_end).unwrap_or(0));
        text.push_str(" ...");
        text.shrink_to_fit();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_too_long_is_cut_and_between_characters() {
        assert_eq!(shortened("é".repeat(250)), "é".repeat(250));
        assert_eq!(shortened(format!("x{}", "é".repeat(250))), format!("x{} ...", "é".repeat(249)));
    }
}
