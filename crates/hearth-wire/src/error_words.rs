//! Texts of system errors for people.

/// Leaves out the numbers that Rust puts behind the kernel's words: `No such file or directory (os error 2)`.
#[must_use]
pub fn without_error_numbers(text: &str) -> String {
    const BEFORE: &str = " (os error ";
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((words, after)) = rest.split_once(BEFORE) {
        plain.push_str(words);
        let number = after.split_once(')');
        match number.filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit())) {
            Some((_, after)) => rest = after,
            None => {
                plain.push_str(BEFORE);
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_come_without_numbers() {
        for (text, plain) in [
            (
                "x: No such file or directory (os error 2)",
                "x: No such file or directory",
            ),
            (
                "Is a directory (os error 21): a; Broken pipe (os error 32)",
                "Is a directory: a; Broken pipe",
            ),
            ("an (os error in a name)", "an (os error in a name)"),
            ("(os error 2", "(os error 2"),
            ("", ""),
        ] {
            assert_eq!(without_error_numbers(text), plain);
        }
        let error = std::io::Error::from_raw_os_error(2).to_string();
        assert_eq!(without_error_numbers(&error), "No such file or directory");
    }
}
