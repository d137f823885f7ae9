//! Answers in XML, as a tree.
//!
//! Invariant: an answer of any shape is read or refused; depth and size are bounded by the answer itself and by a limit.

use quick_xml::{Reader, events::Event};

/// Deeper than any answer of AWS.
const DEPTH_MAX: usize = 64;

/// An element with its text and its children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Self>,
}

impl Element {
    /// Reads a document; without one, an element of no name.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::from_reader(bytes);
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event().map_err(|error| error.to_string())? {
                Event::Start(tag) => {
                    if open.len() > DEPTH_MAX {
                        return Err("the answer is nested too deeply".to_owned());
                    }
                    open.push(Self::named(tag.local_name().as_ref()));
                }
                Event::Empty(tag) => {
                    let element = Self::named(tag.local_name().as_ref());
                    last(&mut open)?.children.push(element);
                }
                Event::Text(text) => {
                    let text = text.decode().map_err(|error| error.to_string())?;
                    last(&mut open)?.text.push_str(&text);
                }
                Event::GeneralRef(name) => {
                    let name = name.decode().map_err(|error| error.to_string())?;
                    last(&mut open)?.text.push_str(&resolved(&name)?);
                }
                Event::CData(text) => last(&mut open)?.text.push_str(&String::from_utf8_lossy(&text)),
                Event::End(_) => {
                    let mut element = open.pop().ok_or("the answer ends too often")?;
                    element.text = element.text.trim().to_owned();
                    last(&mut open)?.children.push(element);
                }
                Event::Eof => break,
                _ => {}
            }
        }
        if open.len() != 1 {
            return Err("the answer is cut off".to_owned());
        }
        Ok(open.pop().and_then(|mut document| document.children.pop()).unwrap_or_default())
    }

    fn named(name: &[u8]) -> Self {
        Self { name: String::from_utf8_lossy(name).into_owned(), ..Self::default() }
    }

    /// The first child of a name.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The element at the end of a path of names.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |element, name| element.child(name))
    }

    /// The text at the end of a path of names.
    pub(crate) fn text_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path).map(|element| element.text.as_str())
    }

    /// The items of a list: the children of the element at `path`.
    pub(crate) fn items(&self, path: &[&str]) -> &[Self] {
        self.at(path).map_or(&[], |element| &element.children)
    }

    /// The first element of a name, wherever it is.
    pub(crate) fn first(&self, name: &str) -> Option<&Self> {
        self.children.iter().find_map(|child| if child.name == name { Some(child) } else { child.first(name) })
    }
}

fn last(open: &mut [Element]) -> Result<&mut Element, String> {
    open.last_mut().ok_or_else(|| "the answer ends too often".to_owned())
}

/// What `&name;` stands for.
fn resolved(name: &str) -> Result<String, String> {
    let plain = match name {
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "quot" => "\"",
        "apos" => "'",
        _ => {
            let number = name.strip_prefix("#x").map(|hex| u32::from_str_radix(hex, 16));
            let number = number.or_else(|| name.strip_prefix('#').map(str::parse));
            let found = number.and_then(Result::ok).and_then(char::from_u32);
            return found.map(String::from).ok_or_else(|| format!("the answer has an unknown &{name};"));
        }
    };
    Ok(plain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lists_and_escapes_are_read() {
        let text = br#"<?xml version="1.0"?><a xmlns="urn:x"><b><c>1 &amp; 2 &#x41;</c></b>
            <list><item><k>x</k></item><item/></list></a>"#;
        let document = Element::parse(text).unwrap();
        assert_eq!(document.name, "a");
        assert_eq!(document.text_at(&["b", "c"]), Some("1 & 2 A"));
        assert_eq!(document.items(&["list"]).len(), 2);
        assert_eq!(document.first("k").map(|element| element.text.as_str()), Some("x"));
        assert_eq!(document.text_at(&["b", "d"]), None);
    }

    #[test]
    fn broken_answers_are_refused() {
        for broken in ["<a>", "<a></b>", "<a>&unknown;</a>"] {
            assert!(Element::parse(broken.as_bytes()).is_err(), "{broken}");
        }
        assert!(Element::parse("<a>".repeat(100).as_bytes()).is_err());
        assert_eq!(Element::parse(b"").unwrap(), Element::default());
    }
}
