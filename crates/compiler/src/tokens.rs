//! sqlparser's tokens with byte ranges, and a cursor over them for the grammars that are ours: source DDL and MODEL
//! headers.
//!
//! Invariant: the tokens of a range tile it: each begins where the one before ends, so that a range of tokens is a range
//! of the file's text.

use std::{ops::Range, str::Chars};

use datafusion::sql::sqlparser::{
    dialect::GenericDialect,
    tokenizer::{Location, Token, Tokenizer, Whitespace},
};

use crate::{Diagnostic, text::FileText};

/// A token and its byte range in the file.
#[derive(Clone, Debug)]
pub(crate) struct SpannedToken {
    pub(crate) token: Token,
    pub(crate) span: Range<usize>,
}

impl SpannedToken {
    /// Whether it is a blank or a comment.
    pub(crate) fn is_blank(&self) -> bool {
        matches!(self.token, Token::Whitespace(_))
    }

    /// The text of a block comment without its delimiters.
    pub(crate) fn block_comment(&self) -> Option<&str> {
        match &self.token {
            Token::Whitespace(Whitespace::MultiLineComment(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether it is this unquoted word, without regard to case.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(&self.token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
    }
}

/// The bytes of a file's text behind a byte order mark.
pub(crate) fn text_range(text: &str) -> Range<usize> {
    let mark = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    mark..text.len()
}

/// Takes a range of a file apart, blanks and comments included.
///
/// # Errors
/// A text or comment is not closed, or a character begins no token.
pub(crate) fn lex(file: FileText<'_>, range: Range<usize>) -> Result<Vec<SpannedToken>, Diagnostic> {
    let text = file.text.get(range.clone()).unwrap_or_default();
    let mut found = Vec::new();
    let result = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location_into_buf(&mut found);
    let mut place = Place { rest: text.chars(), offset: range.start, at: Location::new(1, 1) };
    let mut tokens = Vec::with_capacity(found.len());
    for token in found {
        let start = place.offset;
        let end = place.advance_to(token.span.end);
        tokens.push(SpannedToken { token: token.token, span: start..end });
    }
    let Err(error) = result else {
        return Ok(tokens);
    };
    // What sqlparser names is where it gave up, often the end of the file; the token that was not closed begins here.
    let start = place.offset;
    let line = file.text.get(start..range.end).and_then(|rest| rest.lines().next()).map_or(0, str::len);
    let what = error
        .message
        .strip_prefix("Unexpected EOF while in a ")
        .map_or(error.message.clone(), |token| format!("a {token} is not closed"));
    Err(file.error("syntax", start..start + line, lower_first(&what)).with_label("begins here"))
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

struct Place<'a> {
    rest: Chars<'a>,
    offset: usize,
    at: Location,
}

impl Place<'_> {
    fn advance_to(&mut self, target: Location) -> usize {
        while self.at < target {
            let Some(next) = self.rest.next() else { break };
            self.offset += next.len_utf8();
            self.at = match next {
                '\n' => Location::new(self.at.line + 1, 1),
                _ => Location::new(self.at.line, self.at.column + 1),
            };
        }
        self.offset
    }
}

/// A name as written, without its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ident {
    pub(crate) name: String,
    pub(crate) span: Range<usize>,
}

/// What may nest in an item of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nesting {
    /// Parentheses, brackets and braces: `<` is a comparison.
    Expressions,
    /// These and `<`..`>` of types.
    Angles,
}

/// Walks over the tokens of a range, without blanks and comments.
#[derive(Debug)]
pub(crate) struct Cursor<'t> {
    file: FileText<'t>,
    tokens: Vec<&'t SpannedToken>,
    position: usize,
    end: usize,
    /// The first half of a `>>` has been taken.
    half_taken: bool,
}

impl<'t> Cursor<'t> {
    /// Starts before the first of `tokens`; `end` is the byte offset where they end.
    pub(crate) fn new(file: FileText<'t>, tokens: &'t [SpannedToken], end: usize) -> Self {
        let tokens = tokens.iter().filter(|token| !token.is_blank()).collect();
        Self { file, tokens, position: 0, end, half_taken: false }
    }

    pub(crate) fn file(&self) -> FileText<'t> {
        self.file
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.position >= self.tokens.len()
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn peek(&self) -> Option<&'t Token> {
        self.peek_at(0)
    }

    pub(crate) fn peek_at(&self, distance: usize) -> Option<&'t Token> {
        self.tokens.get(self.position + distance).map(|token| &token.token)
    }

    /// The place of the next token; empty at the end.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span_at(0)
    }

    /// The place of the next token but `distance`; empty at the end.
    pub(crate) fn span_at(&self, distance: usize) -> Range<usize> {
        self.tokens.get(self.position + distance).map_or(self.end..self.end, |token| token.span.clone())
    }

    /// Where the token before the next one ends.
    pub(crate) fn end_of_previous(&self) -> usize {
        let previous = self.position.checked_sub(1).and_then(|index| self.tokens.get(index));
        previous.map_or_else(|| self.span().start, |token| token.span.end)
    }

    pub(crate) fn advance(&mut self) {
        self.position += 1;
        self.half_taken = false;
    }

    /// Whether the next token but `distance` is this unquoted word, without regard to case.
    pub(crate) fn is_word_at(&self, distance: usize, word: &str) -> bool {
        self.tokens.get(self.position + distance).is_some_and(|token| token.is_word(word))
    }

    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.is_word_at(0, word)
    }

    pub(crate) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    pub(crate) fn eat(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        if found {
            self.advance();
        }
        found
    }

    pub(crate) fn expect_word(&mut self, word: &str, place: &str) -> Result<(), Diagnostic> {
        if self.eat_word(word) { Ok(()) } else { Err(self.expected(&format!("`{word}` {place}"))) }
    }

    pub(crate) fn expect(&mut self, token: &Token, place: &str) -> Result<(), Diagnostic> {
        if self.eat(token) { Ok(()) } else { Err(self.expected(&format!("`{token}` {place}"))) }
    }

    /// Takes a `>`, or one half of a `>>`.
    pub(crate) fn expect_closing_angle(&mut self, place: &str) -> Result<(), Diagnostic> {
        match self.peek() {
            Some(Token::Gt) => self.advance(),
            Some(Token::ShiftRight) if self.half_taken => self.advance(),
            Some(Token::ShiftRight) => self.half_taken = true,
            _ => return Err(self.expected(&format!("`>` {place}"))),
        }
        Ok(())
    }

    /// Takes a name, quoted or not.
    pub(crate) fn ident(&mut self, what: &str) -> Result<Ident, Diagnostic> {
        match self.peek() {
            Some(Token::Word(word)) if !word.value.is_empty() => {
                let ident = Ident { name: word.value.clone(), span: self.span() };
                self.advance();
                Ok(ident)
            }
            Some(Token::Word(_)) => Err(self.file.error("syntax", self.span(), format!("{what} is empty"))),
            Some(Token::Number(..)) => {
                Err(self.expected(what).with_help("a name that begins with a digit stands in double quotes"))
            }
            _ => Err(self.expected(what)),
        }
    }

    /// Takes a text in single quotes.
    pub(crate) fn text(&mut self, what: &str) -> Result<(String, Range<usize>), Diagnostic> {
        match self.peek() {
            Some(Token::SingleQuotedString(text)) => {
                let found = (text.clone(), self.span());
                self.advance();
                Ok(found)
            }
            _ => Err(self.expected(&format!("{what} in single quotes"))),
        }
    }

    /// An error that tells what should stand here and what does.
    pub(crate) fn expected(&self, what: &str) -> Diagnostic {
        let span = self.span();
        self.file.error("syntax", span.clone(), format!("expected {what}, found {}", self.found(span)))
    }

    /// The next token for a message.
    pub(crate) fn found(&self, span: Range<usize>) -> String {
        const SHOWN_MAX: usize = 40;
        if self.is_at_end() {
            return "the end of the text".to_owned();
        }
        let text = self.file.text.get(span).unwrap_or_default();
        let mut shown: String = text.chars().take(SHOWN_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        format!("`{shown}`")
    }

    /// Goes on from the item that begins at `from` to the `,` or `)` behind it, over whatever is nested in it.
    pub(crate) fn skip_item(&mut self, from: usize, nesting: Nesting) {
        self.position = from;
        self.half_taken = false;
        let angles = nesting == Nesting::Angles;
        let mut depth = 0_usize;
        while let Some(token) = self.peek() {
            match token {
                Token::Comma | Token::RParen if depth == 0 => return,
                // A statement's end inside of a list: its `)` was forgotten.
                Token::SemiColon => return,
                Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
                Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
                Token::Lt if angles => depth += 1,
                Token::Gt if angles => depth = depth.saturating_sub(1),
                Token::ShiftRight if angles => depth = depth.saturating_sub(2),
                _ => {}
            }
            self.advance();
        }
    }

    /// Takes everything up to the `)` that closes the list which has been opened, and that `)`.
    ///
    /// Gives the byte range of what stands between.
    pub(crate) fn rest_of_parentheses(&mut self) -> Result<Range<usize>, Diagnostic> {
        let start = self.end_of_previous();
        let mut depth = 0_usize;
        while let Some(token) = self.peek() {
            match token {
                Token::RParen if depth == 0 => {
                    let inner = start..self.span().start;
                    self.advance();
                    return Ok(inner);
                }
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            self.advance();
        }
        Err(self.expected("`)`"))
    }
}

/// Gives the text of the comments that stand directly above the token at `index`, without their marks.
///
/// Directly above: on the lines before it, without an empty line between; lines are joined by a blank.
pub(crate) fn comment_above(tokens: &[SpannedToken], index: usize) -> Option<String> {
    let mut parts = Vec::new();
    let mut newlines = 0_usize;
    for token in tokens.get(..index).unwrap_or_default().iter().rev() {
        match &token.token {
            Token::Whitespace(Whitespace::SingleLineComment { comment, .. }) => {
                // The comment's token holds its newline.
                if newlines > 0 {
                    break;
                }
                parts.push(comment.trim().to_owned());
            }
            Token::Whitespace(Whitespace::MultiLineComment(comment)) => {
                if newlines > 1 {
                    break;
                }
                newlines = 0;
                parts.push(plain_block(comment));
            }
            Token::Whitespace(Whitespace::Newline) => newlines += 1,
            Token::Whitespace(_) => {}
            _ => break,
        }
    }
    parts.reverse();
    let text = parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join(" ");
    (!text.is_empty()).then_some(text)
}

fn plain_block(comment: &str) -> String {
    let lines = comment.lines().map(|line| line.trim().trim_start_matches('*').trim());
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}
