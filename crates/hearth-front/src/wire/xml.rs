//! Writing XML: elements and escaped text, nothing else.

/// An XML document under construction.
#[derive(Debug, Default)]
pub(crate) struct Xml(String);

impl Xml {
    /// An element with text.
    pub(crate) fn text(mut self, name: &str, text: &str) -> Self {
        self.open(name, "");
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                // XML 1.0 section 2.2 has no other control characters, not even escaped.
                '\t' | '\n' | '\r' => self.0.push_str(&format!("&#{};", u32::from(character))),
                control if control.is_control() => self.0.push('\u{fffd}'),
                other => self.0.push(other),
            }
        }
        self.close(name);
        self
    }

    /// An element with text, when there is any.
    pub(crate) fn optional(self, name: &str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    /// An element with what `content` writes.
    pub(crate) fn element(self, name: &str, content: impl FnOnce(Self) -> Self) -> Self {
        self.element_with(name, "", content)
    }

    /// An element with attributes (written as they are: constants only).
    pub(crate) fn element_with(
        mut self,
        name: &str,
        attributes: &'static str,
        content: impl FnOnce(Self) -> Self,
    ) -> Self {
        self.open(name, attributes);
        let mut inside = content(self);
        inside.close(name);
        inside
    }

    /// A list: one `member` element for each item.
    pub(crate) fn members<T>(
        self,
        name: &str,
        items: &[T],
        write: impl Fn(Self, &T) -> Self,
    ) -> Self {
        self.element(name, |list| {
            items.iter().fold(list, |list, item| {
                list.element("member", |xml| write(xml, item))
            })
        })
    }

    /// What was written elsewhere.
    pub(crate) fn append(mut self, other: &Self) -> Self {
        self.0.push_str(&other.0);
        self
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }

    fn open(&mut self, name: &str, attributes: &str) {
        self.0.push('<');
        self.0.push_str(name);
        self.0.push_str(attributes);
        self.0.push('>');
    }

    fn close(&mut self, name: &str) {
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let xml = Xml::default().text("a", "<&>\"\u{1}\n").finish();
        assert_eq!(xml, "<a>&lt;&amp;&gt;&quot;\u{fffd}&#10;</a>");
    }
}
