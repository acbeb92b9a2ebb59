//! Patterns over the members of a JSON object: `{ $.level = "ERROR" && $.requests[0].ms > 10 }`.

use serde_json::Value;

use super::PatternError;
use super::expression::Expression;
use super::scanner::Scanner;
use super::value::Comparison;

/// Characters that end a value without quotation marks.
const ENDS: &str = ")}&|";

/// What a member has to be.
#[derive(Clone, Debug)]
pub(super) struct MemberTest {
    path: Vec<Step>,
    kind: Kind,
}

/// One step into an object or a list.
#[derive(Clone, Debug)]
enum Step {
    Member(String),
    Index(usize),
}

#[derive(Clone, Debug)]
enum Kind {
    Compared(Comparison),
    Is(Value),
    NotExists,
}

pub(super) fn parse(scanner: &mut Scanner<'_>) -> Result<Expression<MemberTest>, PatternError> {
    scanner.eat("{");
    let expression = Expression::parse(scanner, &mut test)?;
    if !scanner.eat("}") {
        return Err(scanner.expected("&&, || or a closing brace"));
    }
    Ok(expression)
}

fn test(scanner: &mut Scanner<'_>) -> Result<MemberTest, PatternError> {
    let path = path(scanner)?;
    let kind = if scanner.eat_word("IS") {
        let value = [
            ("TRUE", Value::Bool(true)),
            ("FALSE", Value::Bool(false)),
            ("NULL", Value::Null),
        ];
        let value = value.into_iter().find(|(word, _)| scanner.eat_word(word));
        let (_, value) = value.ok_or_else(|| scanner.expected("TRUE, FALSE or NULL"))?;
        Kind::Is(value)
    } else if scanner.eat_word("NOT") {
        if !scanner.eat_word("EXISTS") {
            return Err(scanner.expected("EXISTS"));
        }
        Kind::NotExists
    } else {
        let comparison = Comparison::parse(scanner, ENDS)?;
        let expected = "one of =, !=, <, >, <=, >=, IS, NOT EXISTS";
        Kind::Compared(comparison.ok_or_else(|| scanner.expected(expected))?)
    };
    Ok(MemberTest { path, kind })
}

fn path(scanner: &mut Scanner<'_>) -> Result<Vec<Step>, PatternError> {
    if !scanner.eat("$") {
        return Err(scanner.expected("a member, such as $.level"));
    }
    let mut path = Vec::new();
    loop {
        if scanner.eat_here("[") {
            path.push(index(scanner)?);
        } else if scanner.eat_here(".[") {
            // A name with other characters: $.['a.b']
            path.push(index(scanner)?);
        } else if scanner.eat_here(".") {
            let is_end = |letter: char| !(letter.is_alphanumeric() || "_-@:/".contains(letter));
            let name = scanner.until(is_end);
            if name.is_empty() {
                return Err(scanner.expected("the name of a member"));
            }
            path.push(Step::Member(name.to_owned()));
        } else if path.is_empty() {
            return Err(scanner.expected("a dot and the name of a member"));
        } else {
            return Ok(path);
        }
    }
}

/// What stands in brackets, the first of which was read.
fn index(scanner: &mut Scanner<'_>) -> Result<Step, PatternError> {
    let step = if scanner.eat("'") {
        let name = scanner.until(|letter| letter == '\'').to_owned();
        if !scanner.eat_here("'") {
            return Err(scanner.expected("an apostrophe"));
        }
        Step::Member(name)
    } else if let Some(name) = scanner.quoted()? {
        Step::Member(name)
    } else {
        let digits = scanner.until(|letter| !letter.is_ascii_digit());
        let index = digits.parse().map_err(|_| scanner.expected("a number"))?;
        Step::Index(index)
    };
    if !scanner.eat("]") {
        return Err(scanner.expected("a closing bracket"));
    }
    Ok(step)
}

impl MemberTest {
    /// Whether it holds for an event. Objects and lists are equal to nothing, and what is not there fulfils no comparison.
    pub(super) fn holds(&self, event: &Value) -> bool {
        let member = self.path.iter().try_fold(event, |value, step| match step {
            Step::Member(name) => value.get(name),
            Step::Index(index) => value.get(index),
        });
        match (&self.kind, member) {
            (Kind::NotExists, member) => member.is_none(),
            (Kind::Is(wanted), Some(member)) => member == wanted,
            (Kind::Compared(comparison), Some(member)) => match member {
                Value::String(text) => comparison.holds(text, None),
                Value::Number(number) => comparison.holds(&number.to_string(), number.as_f64()),
                Value::Bool(is_true) => comparison.holds(&is_true.to_string(), None),
                Value::Null | Value::Array(_) | Value::Object(_) => false,
            },
            (_, None) => false,
        }
    }
}
