//! Patterns over columns between spaces: `[ip, user, ..., status=4* && status!=404, bytes>100]`.

use super::PatternError;
use super::expression::Expression;
use super::scanner::Scanner;
use super::value::Comparison;

/// Characters that end a value without quotation marks.
const ENDS: &str = ",])&|";

/// The columns before and after `...`, or all of them.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    first: Vec<Column>,
    /// What stands behind `...`. Without it there are as many columns as `first` has.
    last: Option<Vec<Column>>,
}

/// What one column has to be. `None` takes anything.
type Column = Option<Expression<Comparison>>;

pub(super) fn parse(scanner: &mut Scanner<'_>) -> Result<Columns, PatternError> {
    scanner.eat("[");
    let mut columns = Columns {
        first: Vec::new(),
        last: None,
    };
    loop {
        if scanner.eat("...") {
            if columns.last.is_some() {
                return Err(scanner.expected("... only once"));
            }
            columns.last = Some(Vec::new());
        } else {
            let column = column(scanner)?;
            columns
                .last
                .as_mut()
                .unwrap_or(&mut columns.first)
                .push(column);
        }
        if scanner.eat("]") {
            return Ok(columns);
        }
        if !scanner.eat(",") {
            return Err(scanner.expected("a comma or a closing bracket"));
        }
    }
}

fn column(scanner: &mut Scanner<'_>) -> Result<Column, PatternError> {
    let name = name(scanner);
    // Every test of a column names it again, and no other.
    let mut is_first = true;
    let mut test = |scanner: &mut Scanner<'_>| {
        if !std::mem::take(&mut is_first) && self::name(scanner) != name {
            return Err(scanner.expected("the same column again"));
        }
        let comparison = Comparison::parse(scanner, ENDS)?;
        comparison.ok_or_else(|| scanner.expected("one of =, !=, <, >, <=, >="))
    };
    match scanner.peek() {
        Some(',' | ']') | None => Ok(None),
        Some(_) => Expression::parse(scanner, &mut test).map(Some),
    }
}

fn name<'a>(scanner: &mut Scanner<'a>) -> &'a str {
    scanner.peek();
    scanner.until(|letter| !(letter.is_alphanumeric() || "_-".contains(letter)))
}

impl Columns {
    pub(super) fn matches(&self, message: &str) -> bool {
        let words = words(message);
        let fit = |columns: &[Column], words: &[&str]| {
            columns.iter().zip(words).all(|(column, word)| {
                let number = word.parse().ok();
                column
                    .as_ref()
                    .is_none_or(|column| column.holds(|test| test.holds(word, number)))
            })
        };
        match &self.last {
            None => words.len() == self.first.len() && fit(&self.first, &words),
            Some(last) => {
                let Some(behind) = words.len().checked_sub(last.len()) else {
                    return false;
                };
                behind >= self.first.len()
                    && fit(&self.first, &words)
                    && fit(last, &words[behind..])
            }
        }
    }
}

/// The columns of a message. What stands in quotation marks or brackets is one, without them.
fn words(message: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = message.trim_start();
    while !rest.is_empty() {
        let closing = match rest.as_bytes()[0] {
            b'"' => Some('"'),
            b'[' => Some(']'),
            _ => None,
        };
        let enclosed = closing.and_then(|closing| rest[1..].split_once(closing));
        let (word, after) = enclosed.unwrap_or_else(|| {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            rest.split_at(end)
        });
        words.push(word);
        rest = after.trim_start();
    }
    words
}
