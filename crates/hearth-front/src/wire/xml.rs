//! Writes XML: elements and escaped text only.

use crate::fault::Fault;

/// An XML document under construction.
#[derive(Debug, Default)]
pub(crate) struct Xml(String);

impl Xml {
    /// Adds an element with a text.
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

    /// Adds an element with a value.
    pub(crate) fn member(self, name: &str, value: &impl Element) -> Self {
        value.write(self, name)
    }

    /// Adds an element with the content that `content` writes.
    pub(crate) fn element(self, name: &str, content: impl FnOnce(Self) -> Self) -> Self {
        self.element_with(name, "", content)
    }

    /// Adds an element with attributes, which are not escaped: constants only.
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

    /// Adds a document that was written elsewhere.
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

/// A value that can be written as an element.
pub(crate) trait Element {
    fn write(&self, xml: Xml, name: &str) -> Xml;
}

/// A value with members: an element that contains them as elements.
pub(crate) trait Structure {
    fn members(&self, xml: Xml) -> Xml;
}

impl<T: Structure> Element for T {
    fn write(&self, xml: Xml, name: &str) -> Xml {
        xml.element(name, |xml| self.members(xml))
    }
}

impl Element for String {
    fn write(&self, xml: Xml, name: &str) -> Xml {
        xml.text(name, self)
    }
}

impl Element for bool {
    fn write(&self, xml: Xml, name: &str) -> Xml {
        xml.text(name, if *self { "true" } else { "false" })
    }
}

impl Element for i64 {
    fn write(&self, xml: Xml, name: &str) -> Xml {
        xml.text(name, &self.to_string())
    }
}

impl Element for u32 {
    fn write(&self, xml: Xml, name: &str) -> Xml {
        xml.text(name, &self.to_string())
    }
}

/// An absent value writes no element.
impl<T: Element> Element for Option<T> {
    fn write(&self, xml: Xml, name: &str) -> Xml {
        match self {
            Some(value) => value.write(xml, name),
            None => xml,
        }
    }
}

/// A list writes one `member` element for each item.
impl<T: Element> Element for Vec<T> {
    fn write(&self, xml: Xml, name: &str) -> Xml {
        xml.element(name, |list| {
            self.iter()
                .fold(list, |list, item| item.write(list, "member"))
        })
    }
}

/// The members of an output as XML.
pub(crate) fn answered(output: &impl Structure) -> Result<Xml, Fault> {
    Ok(output.members(Xml::default()))
}

/// The output of an operation that has none.
pub(crate) fn empty((): ()) -> Result<Xml, Fault> {
    Ok(Xml::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let xml = Xml::default().text("a", "<&>\"\u{1}\n").finish();
        assert_eq!(xml, "<a>&lt;&amp;&gt;&quot;\u{fffd}&#10;</a>");
    }

    struct Pair {
        list: Vec<String>,
        flag: Option<bool>,
        absent: Option<u32>,
    }

    impl Structure for Pair {
        fn members(&self, xml: Xml) -> Xml {
            xml.member("List", &self.list)
                .member("Flag", &self.flag)
                .member("Absent", &self.absent)
        }
    }

    #[test]
    fn structures_are_elements_of_their_members() {
        let pair = Pair {
            list: vec!["a".to_owned(), "b".to_owned()],
            flag: Some(false),
            absent: None,
        };
        let xml = Xml::default().member("Pair", &pair).finish();
        assert_eq!(
            xml,
            "<Pair><List><member>a</member><member>b</member></List><Flag>false</Flag></Pair>"
        );
    }
}
