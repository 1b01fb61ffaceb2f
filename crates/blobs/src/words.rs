//! What storage services say, for people.

/// Words of a storage service as one line of text: of an XML document what it says to people.
pub fn one_line(words: &str) -> String {
    let mut text = words.to_owned();
    while let Some(start) = text.find("<?xml").or_else(|| text.find("<Error")) {
        let end = text[start..].find("</Error>").map_or(text.len(), |end| start + end + "</Error>".len());
        let document = &text[start..end];
        let said: Vec<_> = ["Code", "Message"].into_iter().filter_map(|name| element(document, name)).collect();
        text = format!("{}{}{}", &text[..start], said.join(": "), &text[end..]);
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text of the first XML element of this name, up to whatever it holds.
pub(crate) fn element<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    Some(rest.split_once('<')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_storage_service_says_is_one_line_without_markup() {
        let said = "asking: 403\n<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code>\n<Message>No.</Message><Id>7</Id></Error> (2 tries)";
        assert_eq!(one_line(said), "asking: 403 AccessDenied: No. (2 tries)");
        assert_eq!(one_line("cut <Error><Code>A</Code><Mess"), "cut A");
        assert_eq!(one_line("a </Error> <Error>"), "a </Error>");
    }
}
