//! From text to syntax tree: exactly one query, of bounded depth.
//!
//! Data flow: a byte range of a file -> tokens -> **here** -> [`ast::Query`] -> the resolver.
//!
//! Invariant: no text overflows the stack or takes more than linear memory. The parser's own recursion is limited, and so
//! is what it builds in loops (`a + b + c …` is a tree as deep as it is long).

use std::ops::Range;

use datafusion::sql::sqlparser::{
    ast,
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer},
};

use super::{dialect::JobDialect, place::Source};
use crate::{Diagnostic, Diagnostics};

/// How deep expressions and subqueries may be nested; sqlparser's own default, which the planner's parser has as well.
pub(super) const NESTING_MAX: usize = 50;

/// How many operators may follow one another without a comma, a clause or a parenthesis that closes between them.
const OPERATORS_MAX: usize = 500;

/// Parses the one query that stands in the range of `source`; a trailing `;` is fine.
pub(super) fn parse(source: &Source) -> Result<Box<ast::Query>, Diagnostics> {
    let significant = significant_tokens(source)?;
    check_statement(source, &significant)?;
    check_depth(source, &significant)?;
    let mut parser = Parser::new(&JobDialect).with_recursion_limit(NESTING_MAX).with_tokens_with_locations(significant);
    let query = parser.parse_query().map_err(|error| one(syntax_error(source, error)))?;
    while parser.consume_token(&Token::SemiColon) {}
    let next = parser.next_token();
    if next.token != Token::EOF {
        return Err(one(unexpected(source, &next)));
    }
    Ok(query)
}

/// Parses the one expression that stands in the range of `source`.
pub(super) fn parse_expression(source: &Source) -> Result<ast::Expr, Diagnostics> {
    let significant = significant_tokens(source)?;
    if significant.is_empty() {
        return Err(one(source.error("syntax", source.range(), "a condition is missing here")));
    }
    check_depth(source, &significant)?;
    let mut parser = Parser::new(&JobDialect).with_recursion_limit(NESTING_MAX).with_tokens_with_locations(significant);
    let expr = parser.parse_expr().map_err(|error| one(syntax_error(source, error)))?;
    let next = parser.next_token();
    if next.token == Token::EOF { Ok(expr) } else { Err(one(unexpected(source, &next))) }
}

/// The tokens of the range of `source` that mean something.
fn significant_tokens(source: &Source) -> Result<Vec<TokenWithSpan>, Diagnostics> {
    let tokens = Tokenizer::new(&JobDialect, source.query_text()).tokenize_with_location().map_err(|error| {
        one(source.error("syntax", at_token(source, error.location), lowercase_first(&error.message)))
    })?;
    Ok(tokens.into_iter().filter(|token| !is_layout(&token.token)).collect())
}

fn one(diagnostic: Diagnostic) -> Diagnostics {
    Diagnostics(vec![diagnostic])
}

/// Spaces and comments, which mean nothing, hints included.
fn is_layout(token: &Token) -> bool {
    matches!(token, Token::Whitespace(_))
}

/// Refuses everything that is no query, by its first word.
fn check_statement(source: &Source, tokens: &[TokenWithSpan]) -> Result<(), Diagnostics> {
    let Some(first) = tokens.iter().find(|token| !matches!(token.token, Token::SemiColon | Token::LParen)) else {
        let empty = source.error("no_query", source.range().end..source.range().end, "a query is missing here");
        return Err(one(empty.with_help("write one SELECT")));
    };
    let Token::Word(word) = &first.token else { return Ok(()) };
    let message = match word.keyword {
        Keyword::SELECT | Keyword::WITH | Keyword::VALUES => return Ok(()),
        Keyword::INSERT | Keyword::UPDATE | Keyword::DELETE | Keyword::MERGE | Keyword::TRUNCATE | Keyword::COPY => {
            "tables are written by models only"
        }
        Keyword::CREATE | Keyword::DROP | Keyword::ALTER => "tables are made by the files of a job only",
        Keyword::SET | Keyword::RESET | Keyword::USE => "there are no session settings",
        Keyword::EXPLAIN | Keyword::DESCRIBE | Keyword::DESC | Keyword::SHOW => {
            "it is a command of the sql prompt, not a query"
        }
        _ => "a query begins with SELECT or WITH",
    };
    let verb = word.value.to_uppercase();
    let span = range_of_token(source, first);
    Err(one(source.error("not_a_query", span, format!("{verb} is not possible here: {message}"))))
}

/// Bounds the depth of the tree that the parser will build from these tokens.
fn check_depth(source: &Source, tokens: &[TokenWithSpan]) -> Result<(), Diagnostics> {
    // Per open parenthesis: operators since the last comma or clause, and set operations and joins, which no clause ends.
    let mut levels = vec![(0_usize, 0_usize)];
    let mut total = 0_usize;
    for token in tokens {
        match role(&token.token) {
            Role::Open => levels.push((0, 0)),
            Role::Close if levels.len() > 1 => {
                let (operators, set_operators) = levels.pop().unwrap_or_default();
                total -= operators + set_operators;
            }
            Role::Close | Role::Other => {}
            role => {
                let Some((operators, set_operators)) = levels.last_mut() else { break };
                match role {
                    Role::Separator => total -= std::mem::take(operators),
                    Role::SetOperator => {
                        *set_operators += 1;
                        total += 1;
                    }
                    _ => {
                        *operators += 1;
                        total += 1;
                    }
                }
            }
        }
        if total > OPERATORS_MAX {
            let message = format!("this expression has more than {OPERATORS_MAX} operators in a row");
            let help = "split it up, or use IN (…) or a joined table of values";
            return Err(one(source.error("too_deep", range_of_token(source, token), message).with_help(help)));
        }
    }
    Ok(())
}

enum Role {
    Open,
    Close,
    Separator,
    Operator,
    SetOperator,
    Other,
}

fn role(token: &Token) -> Role {
    match token {
        Token::LParen | Token::LBracket | Token::LBrace => Role::Open,
        Token::RParen | Token::RBracket | Token::RBrace => Role::Close,
        Token::Comma | Token::SemiColon => Role::Separator,
        Token::Word(word) if word.quote_style.is_none() => match word.keyword {
            Keyword::SELECT | Keyword::FROM | Keyword::WHERE | Keyword::GROUP | Keyword::HAVING | Keyword::ORDER => {
                Role::Separator
            }
            Keyword::WHEN | Keyword::THEN | Keyword::ELSE | Keyword::ON | Keyword::QUALIFY | Keyword::LIMIT => {
                Role::Separator
            }
            Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::JOIN | Keyword::MINUS => Role::SetOperator,
            Keyword::AND | Keyword::OR | Keyword::NOT | Keyword::IS | Keyword::DIV | Keyword::XOR => Role::Operator,
            Keyword::LIKE | Keyword::ILIKE | Keyword::BETWEEN | Keyword::IN | Keyword::CASE => Role::Operator,
            Keyword::AT | Keyword::COLLATE | Keyword::RLIKE | Keyword::REGEXP | Keyword::INTERVAL => Role::Operator,
            _ => Role::Other,
        },
        Token::Word(_) | Token::Number(_, _) | Token::SingleQuotedString(_) | Token::Colon | Token::EOF => Role::Other,
        // Everything else is an operator, or a literal of a rare kind that does no harm in the count.
        _ => Role::Operator,
    }
}

fn unexpected(source: &Source, token: &TokenWithSpan) -> Diagnostic {
    let span = range_of_token(source, token);
    let starts_query = matches!(&token.token, Token::Word(word) if matches!(
        word.keyword,
        Keyword::SELECT | Keyword::WITH | Keyword::INSERT | Keyword::CREATE | Keyword::UPDATE | Keyword::DELETE
    ));
    if starts_query {
        return source.error("second_statement", span, "one query is expected, and here begins another statement");
    }
    source.error("syntax", span, format!("unexpected {}", name_of(&token.token)))
}

fn syntax_error(source: &Source, error: ParserError) -> Diagnostic {
    let text = match error {
        ParserError::RecursionLimitExceeded => {
            let message = format!("expressions or subqueries are nested more than about {NESTING_MAX} deep");
            return source.error("too_deep", source.range(), message).with_help("name the inner parts in a WITH");
        }
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
    };
    // The parser gives the place as a part of its text only.
    let (message, place) = split_place(&text);
    let span = match place {
        Some(location) => at_token(source, location),
        None => source.range().end..source.range().end,
    };
    source.error("syntax", span, plain_message(message))
}

/// Splits ` at Line: 1, Column: 5` off.
fn split_place(text: &str) -> (&str, Option<Location>) {
    let Some((message, place)) = text.rsplit_once(" at Line: ") else { return (text, None) };
    let location = place.split_once(", Column: ").and_then(|(line, column)| {
        Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
    });
    (if location.is_some() { message } else { text }, location)
}

/// `Expected: an expression, found: FROM` becomes `expected an expression, found FROM`.
fn plain_message(message: &str) -> String {
    let Some(rest) = message.strip_prefix("Expected: ") else { return lowercase_first(message) };
    let (expected, found) = rest.rsplit_once(", found: ").unwrap_or((rest, "something else"));
    match found {
        "EOF" => format!("expected {expected}, found the end of the query"),
        found => format!("expected {expected}, found `{found}`"),
    }
}

/// For messages of others, which begin with a capital.
pub(super) fn lowercase_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), text.chars().nth(1)) {
        // A word in capitals is a name.
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

fn name_of(token: &Token) -> String {
    match token {
        Token::EOF => "end of the query".to_owned(),
        other => format!("`{other}`"),
    }
}

fn range_of_token(source: &Source, token: &TokenWithSpan) -> Range<usize> {
    source.range_of_span(token.span).unwrap_or_else(|| source.range().end..source.range().end)
}

/// The word or the single character that stands at a location.
fn at_token(source: &Source, location: Location) -> Range<usize> {
    let start = if location.line == 0 { source.range().end } else { source.offset(location) };
    let rest = source.slice(&(start..source.range().end));
    let word = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').map(char::len_utf8).sum::<usize>();
    start..start + if word > 0 { word } else { rest.chars().next().map_or(0, char::len_utf8) }
}
