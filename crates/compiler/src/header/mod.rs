//! The MODEL header: finds it in a model's file, and tells it from the query.
//!
//! Data flow: text -> tokens -> **[`split_model`]** -> [`Header`] and the byte range of the query.
//!
//! Invariant: all places are byte offsets in the whole file, also of a header inside of a comment.

use std::ops::Range;

use datafusion::sql::sqlparser::tokenizer::Token;

pub(crate) use self::{
    arguments::Arguments,
    keys::{Contract, ContractColumn, Header, KindName, TimeSettings},
    rules::{Audit, AuditUse, Expectation, built_in_audits},
};
use crate::{
    Diagnostic,
    text::FileText,
    tokens::{Cursor, SpannedToken, comment_above, lex, text_range},
};

mod arguments;
mod keys;
mod kind;
mod rules;
#[cfg(test)]
mod tests;

/// A model's file, taken apart.
#[derive(Debug)]
pub(crate) struct ModelFile {
    pub(crate) header: Header,
    /// Where the query stands.
    pub(crate) query: Range<usize>,
    /// The comment directly above the header, else above the query.
    pub(crate) comment: Option<String>,
}

/// Takes the file of a model apart; `audits` are the names of the job's own audits.
///
/// Gives `None` if it is not known where the query begins.
pub(crate) fn split_model(file: FileText<'_>, audits: &[&str]) -> (Option<ModelFile>, Vec<Diagnostic>) {
    let whole = text_range(file.text);
    let tokens = match lex(file, whole.clone()) {
        Ok(tokens) => tokens,
        Err(finding) => return (None, vec![finding]),
    };
    let first = tokens.iter().position(|token| !token.is_blank());
    if let Some(first) = first.filter(|first| begins_header(&tokens, *first)) {
        let rest = tokens.get(first..).unwrap_or_default();
        let mut cursor = Cursor::new(file, rest, whole.end);
        let (header, mut findings) = keys::parse_header(&mut cursor, audits);
        let Some(header) = header else {
            return (None, findings);
        };
        if !cursor.eat(&Token::SemiColon) {
            findings.push(cursor.expected("`;` after the MODEL header"));
        }
        let query = cursor.end_of_previous()..whole.end;
        return (Some(ModelFile { header, query, comment: comment_above(&tokens, first) }), findings);
    }
    if let Some(index) = tokens.iter().position(|token| token.block_comment().is_some())
        && let Some(inner) = tokens.get(index).and_then(header_in_comment)
    {
        let (header, findings) = parse_commented_header(file, inner, audits);
        let comment = comment_above(&tokens, index);
        return (header.map(|header| ModelFile { header, query: whole, comment }), findings);
    }
    let misplaced = tokens.iter().filter(|token| mentions_header(token)).map(|token| {
        let message = "this MODEL header is not read: it does not begin the file's first block comment";
        file.warning("misplaced_header", token.span.clone(), message).with_help("move it to the top of the file")
    });
    let comment = first.and_then(|first| comment_above(&tokens, first));
    (Some(ModelFile { header: Header::default(), query: whole, comment }), misplaced.collect())
}

/// Whether `MODEL` stands here and no query can begin so.
fn begins_header(tokens: &[SpannedToken], first: usize) -> bool {
    tokens.get(first).is_some_and(|token| token.is_word("MODEL"))
}

/// The range inside of a block comment that holds a header.
fn header_in_comment(token: &SpannedToken) -> Option<Range<usize>> {
    const MARK: usize = "/*".len();
    is_header(token.block_comment()?).then(|| token.span.start + MARK..token.span.end - MARK)
}

/// Whether a line of a block comment looks like the beginning of a header.
fn mentions_header(token: &SpannedToken) -> bool {
    token.block_comment().is_some_and(|comment| comment.lines().any(is_header))
}

fn is_header(text: &str) -> bool {
    let text = text.trim_start();
    let (keyword, rest) = (text.get(.."MODEL".len()), text.get("MODEL".len()..));
    keyword.is_some_and(|keyword| keyword.eq_ignore_ascii_case("MODEL"))
        && rest.is_some_and(|rest| rest.trim_start().starts_with('('))
}

fn parse_commented_header(
    file: FileText<'_>,
    inner: Range<usize>,
    audits: &[&str],
) -> (Option<Header>, Vec<Diagnostic>) {
    let tokens = match lex(file, inner.clone()) {
        Ok(tokens) => tokens,
        Err(finding) => return (None, vec![finding]),
    };
    let mut cursor = Cursor::new(file, &tokens, inner.end);
    let (header, mut findings) = keys::parse_header(&mut cursor, audits);
    cursor.eat(&Token::SemiColon);
    if header.is_some() && !cursor.is_at_end() {
        findings.push(cursor.expected("the end of the comment after the MODEL header"));
    }
    (header, findings)
}
