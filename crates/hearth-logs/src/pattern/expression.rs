//! Tests that are joined by `&&`, `||` and parentheses.

use super::PatternError;
use super::scanner::Scanner;

/// Deepest nesting of parentheses: each level is a call on the stack.
const MAX_DEPTH: usize = 32;

/// What has to hold.
#[derive(Clone, Debug)]
pub(super) enum Expression<T> {
    Test(T),
    All(Vec<Self>),
    Any(Vec<Self>),
}

impl<T> Expression<T> {
    /// Parses an expression. `test` parses one test.
    pub(super) fn parse(
        scanner: &mut Scanner<'_>,
        test: &mut impl FnMut(&mut Scanner<'_>) -> Result<T, PatternError>,
    ) -> Result<Self, PatternError> {
        Self::any(scanner, test, MAX_DEPTH)
    }

    fn any(
        scanner: &mut Scanner<'_>,
        test: &mut impl FnMut(&mut Scanner<'_>) -> Result<T, PatternError>,
        depth: usize,
    ) -> Result<Self, PatternError> {
        let mut parts = vec![Self::all(scanner, test, depth)?];
        while scanner.eat("||") {
            parts.push(Self::all(scanner, test, depth)?);
        }
        Ok(Self::Any(parts))
    }

    fn all(
        scanner: &mut Scanner<'_>,
        test: &mut impl FnMut(&mut Scanner<'_>) -> Result<T, PatternError>,
        depth: usize,
    ) -> Result<Self, PatternError> {
        let mut parts = vec![Self::one(scanner, test, depth)?];
        while scanner.eat("&&") {
            parts.push(Self::one(scanner, test, depth)?);
        }
        Ok(Self::All(parts))
    }

    fn one(
        scanner: &mut Scanner<'_>,
        test: &mut impl FnMut(&mut Scanner<'_>) -> Result<T, PatternError>,
        depth: usize,
    ) -> Result<Self, PatternError> {
        if !scanner.eat("(") {
            return test(scanner).map(Self::Test);
        }
        let depth = depth.checked_sub(1).ok_or(PatternError::TooDeep)?;
        let inner = Self::any(scanner, test, depth)?;
        if !scanner.eat(")") {
            return Err(scanner.expected("&&, || or a closing parenthesis"));
        }
        Ok(inner)
    }

    /// Whether it holds where `test` says which tests do.
    pub(super) fn holds(&self, test: impl Copy + Fn(&T) -> bool) -> bool {
        match self {
            Self::Test(one) => test(one),
            Self::All(parts) => parts.iter().all(|part| part.holds(test)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(test)),
        }
    }
}
